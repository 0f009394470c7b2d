"""Where a demo's pictures go: to TensorBoard, and as PNG files beside the log."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxviz.tensorboard import Writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Album:
    """Writes each figure twice: under a tag of the log, and as a PNG of the same name.

    Args:
        writer: the run's writer.
        folder: where the PNGs go; made with the first.
    """

    def __init__(self, writer: Writer, folder: Path) -> None:
        self.writer = writer
        self.folder = folder

    def add(self, tag: str, figure: "Figure", step: int) -> None:
        """Adds a figure under a tag."""
        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / f"{tag.replace('/', '-')}.png", dpi=150)
        self.writer.figure(tag, figure, step)
