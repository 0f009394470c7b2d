"""Data on their way to a network: scaling, splits, batches, augmentation, and small sets to try things on.

Arrays are NumPy's, on the host, until `prefetch` or the training step moves them to a device.
"""

from jaxviz.data.augmentation import chain as chain
from jaxviz.data.augmentation import flip as flip
from jaxviz.data.augmentation import mixup as mixup
from jaxviz.data.augmentation import noise as noise
from jaxviz.data.augmentation import shift as shift
from jaxviz.data.batching import PaddedBatch as PaddedBatch
from jaxviz.data.batching import batches as batches
from jaxviz.data.batching import padded_batches as padded_batches
from jaxviz.data.batching import prefetch as prefetch
from jaxviz.data.batching import split as split
from jaxviz.data.digits import mnist as mnist
from jaxviz.data.points import moons as moons
from jaxviz.data.points import spirals as spirals
from jaxviz.data.points import xor as xor
from jaxviz.data.scaling import Scaling as Scaling
from jaxviz.data.scaling import normalize as normalize
from jaxviz.data.scaling import one_hot as one_hot
from jaxviz.data.scaling import standardize as standardize
from jaxviz.data.tables import TABLES as TABLES
from jaxviz.data.tables import Table as Table
from jaxviz.data.tables import table as table
