"""Training: state, compiled step, loop, evaluation, checkpoints, sweeps. Each part is usable in a loop of one's own.

`fit` trains Linen and NNX modules. For a loop of one's own, `make_step` is the compiled step; with a step function of one's
own (flax's `TrainState`, `nnx.Optimizer`, optax alone), use `jaxviz.watch.Watcher`, and `evaluate`, `predict` and
`backpropagation` with any `jaxviz.Model`, and `Checkpoints` with any pytree.
"""

from jaxviz.train.backpropagation import Backpropagation as Backpropagation
from jaxviz.train.backpropagation import backpropagation as backpropagation
from jaxviz.train.checkpoint import Checkpoints as Checkpoints
from jaxviz.train.evaluation import evaluate as evaluate
from jaxviz.train.evaluation import predict as predict
from jaxviz.train.faults import NonFiniteError as NonFiniteError
from jaxviz.train.history import History as History
from jaxviz.train.loop import fit as fit
from jaxviz.train.losses import LOSSES as LOSSES
from jaxviz.train.metrics import METRICS as METRICS
from jaxviz.train.metrics import top_accuracy as top_accuracy
from jaxviz.train.optimizers import OPTIMIZERS as OPTIMIZERS
from jaxviz.train.optimizers import Optimizer as Optimizer
from jaxviz.train.optimizers import cosine as cosine
from jaxviz.train.optimizers import optimizer as optimizer
from jaxviz.train.state import State as State
from jaxviz.train.state import create_state as create_state
from jaxviz.train.step import StepReport as StepReport
from jaxviz.train.step import make_step as make_step
from jaxviz.train.stopping import EarlyStopping as EarlyStopping
from jaxviz.train.sweep import Sweep as Sweep
from jaxviz.train.sweep import sweep as sweep
