"""Methods that put other backward rules in place of the derivative: per primitive of the traced program, per layer."""

from jaxviz.attribution.rules.affine import Affine as Affine
from jaxviz.attribution.rules.composites import Composite as Composite
from jaxviz.attribution.rules.composites import deep_taylor as deep_taylor
from jaxviz.attribution.rules.composites import epsilon_alpha2_beta1 as epsilon_alpha2_beta1
from jaxviz.attribution.rules.composites import epsilon_alpha2_beta1_flat as epsilon_alpha2_beta1_flat
from jaxviz.attribution.rules.composites import epsilon_gamma_box as epsilon_gamma_box
from jaxviz.attribution.rules.composites import epsilon_plus as epsilon_plus
from jaxviz.attribution.rules.composites import epsilon_plus_flat as epsilon_plus_flat
from jaxviz.attribution.rules.composites import excitation_backprop as excitation_backprop
from jaxviz.attribution.rules.first_layers import Flat as Flat
from jaxviz.attribution.rules.first_layers import WSquare as WSquare
from jaxviz.attribution.rules.first_layers import ZBox as ZBox
from jaxviz.attribution.rules.relevance import AlphaBeta as AlphaBeta
from jaxviz.attribution.rules.relevance import Epsilon as Epsilon
from jaxviz.attribution.rules.relevance import Gamma as Gamma
from jaxviz.attribution.rules.relevance import Norm as Norm
from jaxviz.attribution.rules.relevance import Pass as Pass
from jaxviz.attribution.rules.relevance import ZPlus as ZPlus
from jaxviz.attribution.rules.stabilizers import Stabilizer as Stabilizer
