"""The warning of this folder."""


class AttributionWarning(UserWarning):
    """An attribution was computed as asked, but does not say what it seems to; `jaxviz.diagnose` says more."""
