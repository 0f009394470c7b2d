"""Watching a network train: pairs of pure functions that measure on the device and write on the host."""

from jaxviz.watch.activations import activations as activations
from jaxviz.watch.explanations import input_gradients as input_gradients
from jaxviz.watch.explanations import saliency as saliency
from jaxviz.watch.explanations import scalars as scalars
from jaxviz.watch.histogram import Histogram as Histogram
from jaxviz.watch.histogram import histogram as histogram
from jaxviz.watch.hook import Hook as Hook
from jaxviz.watch.hook import StepView as StepView
from jaxviz.watch.parameters import gradients as gradients
from jaxviz.watch.parameters import updates as updates
from jaxviz.watch.parameters import weights as weights
from jaxviz.watch.statistics import Statistics as Statistics
from jaxviz.watch.statistics import statistics as statistics
from jaxviz.watch.watcher import Watcher as Watcher
