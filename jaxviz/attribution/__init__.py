"""Attribution: what each input, or each place of a layer, contributed to the answer.

All methods are called alike, `method(model, inputs, *, target=None, ...)`, and give what has the structure and shapes of inputs.
"""

from jaxviz.attribution.attention import attention_maps as attention_maps
from jaxviz.attribution.attention import attention_rollout as attention_rollout
from jaxviz.attribution.attention import attention_x_gradient as attention_x_gradient
from jaxviz.attribution.attention import tag_attention as tag_attention
from jaxviz.attribution.augmentation import augmented as augmented
from jaxviz.attribution.cam import ablation_cam as ablation_cam
from jaxviz.attribution.cam import eigen_cam as eigen_cam
from jaxviz.attribution.cam import eigen_grad_cam as eigen_grad_cam
from jaxviz.attribution.cam import full_grad as full_grad
from jaxviz.attribution.cam import grad_cam as grad_cam
from jaxviz.attribution.cam import grad_cam_pp as grad_cam_pp
from jaxviz.attribution.cam import guided_grad_cam as guided_grad_cam
from jaxviz.attribution.cam import hires_cam as hires_cam
from jaxviz.attribution.cam import layer_cam as layer_cam
from jaxviz.attribution.cam import score_cam as score_cam
from jaxviz.attribution.cam import xgrad_cam as xgrad_cam
from jaxviz.attribution.caution import AttributionWarning as AttributionWarning
from jaxviz.attribution.datasets import explain_dataset as explain_dataset
from jaxviz.attribution.diagnosis import Diagnosis as Diagnosis
from jaxviz.attribution.diagnosis import Finding as Finding
from jaxviz.attribution.diagnosis import diagnose as diagnose
from jaxviz.attribution.gradients import gradient as gradient
from jaxviz.attribution.gradients import input_x_gradient as input_x_gradient
from jaxviz.attribution.gradients import saliency as saliency
from jaxviz.attribution.influence import conductance as conductance
from jaxviz.attribution.influence import internal_influence as internal_influence
from jaxviz.attribution.layers import at_layer as at_layer
from jaxviz.attribution.neurons import neuron_conductance as neuron_conductance
from jaxviz.attribution.paths import blur_integrated_gradients as blur_integrated_gradients
from jaxviz.attribution.paths import completeness_gap as completeness_gap
from jaxviz.attribution.paths import expected_gradients as expected_gradients
from jaxviz.attribution.paths import guided_integrated_gradients as guided_integrated_gradients
from jaxviz.attribution.paths import integrated_gradients as integrated_gradients
from jaxviz.attribution.paths import xrai as xrai
from jaxviz.attribution.perturbation import feature_ablation as feature_ablation
from jaxviz.attribution.perturbation import feature_permutation as feature_permutation
from jaxviz.attribution.perturbation import kernel_shap as kernel_shap
from jaxviz.attribution.perturbation import lime as lime
from jaxviz.attribution.perturbation import occlusion as occlusion
from jaxviz.attribution.perturbation import rise as rise
from jaxviz.attribution.perturbation import shapley_sampling as shapley_sampling
from jaxviz.attribution.perturbation import shapley_values as shapley_values
from jaxviz.attribution.perturbation import superpixels as superpixels
from jaxviz.attribution.rules.deeplift import deep_shap as deep_shap
from jaxviz.attribution.rules.deeplift import deeplift as deeplift
from jaxviz.attribution.rules.guided import deconvnet as deconvnet
from jaxviz.attribution.rules.guided import guided_backprop as guided_backprop
from jaxviz.attribution.rules.lrp import lrp as lrp
from jaxviz.attribution.rules.report import relevance_report as relevance_report
from jaxviz.attribution.smoothing import smooth as smooth
from jaxviz.attribution.units import unit as unit
