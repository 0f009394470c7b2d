"""jaxviz: what is my network doing, and why did it answer that?

The headline verbs are attributes of this package (`jaxviz.Model`, `jaxviz.integrated_gradients`, ...); the topics are its
subpackages: `data`, `models`, `train`, `watch`, `tensorboard`, `figures`. Both load at first use.
"""

from typing import TYPE_CHECKING

from jaxviz._lazy import lazy
from jaxviz._version import __version__ as __version__

if TYPE_CHECKING:
    from jaxviz import data as data
    from jaxviz import figures as figures
    from jaxviz import models as models
    from jaxviz import tensorboard as tensorboard
    from jaxviz import train as train
    from jaxviz import watch as watch
    from jaxviz.model import Model as Model
    from jaxviz.program import tag as tag
    from jaxviz.summaries import Summary as Summary
    from jaxviz.summaries import summary as summary

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Model": ".model",
        "Summary": ".summaries",
        "summary": ".summaries",
        "tag": ".program",
    },
    submodules=("data", "figures", "models", "tensorboard", "train", "watch"),
)
