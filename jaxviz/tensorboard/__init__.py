"""TensorBoard without TensorFlow: `Writer` writes a run's log, `read` gives a log back as arrays.

Neither needs JAX: arrays come in through NumPy's protocol, so NumPy's and JAX's, on any device, are the same to them.
"""

from jaxviz.tensorboard.log import Audio as Audio
from jaxviz.tensorboard.log import Log as Log
from jaxviz.tensorboard.log import Run as Run
from jaxviz.tensorboard.log import Series as Series
from jaxviz.tensorboard.projector import Embedding as Embedding
from jaxviz.tensorboard.reader import read as read
from jaxviz.tensorboard.writer import Writer as Writer
