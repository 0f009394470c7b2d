"""Path methods: the gradient summed up on a path from where there is no information to the inputs."""

from jaxviz.attribution.paths.blur import blur_integrated_gradients as blur_integrated_gradients
from jaxviz.attribution.paths.expected import expected_gradients as expected_gradients
from jaxviz.attribution.paths.guided import guided_integrated_gradients as guided_integrated_gradients
from jaxviz.attribution.paths.integrated import completeness_gap as completeness_gap
from jaxviz.attribution.paths.integrated import integrated_gradients as integrated_gradients
from jaxviz.attribution.paths.xrai import xrai as xrai
