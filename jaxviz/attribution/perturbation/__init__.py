"""Perturbation: what the score does when features are taken away, alone or with others."""

from jaxviz.attribution.perturbation.ablation import feature_ablation as feature_ablation
from jaxviz.attribution.perturbation.ablation import feature_permutation as feature_permutation
from jaxviz.attribution.perturbation.local_linear import lime as lime
from jaxviz.attribution.perturbation.random_masks import rise as rise
from jaxviz.attribution.perturbation.segments import superpixels as superpixels
from jaxviz.attribution.perturbation.shapley import shapley_sampling as shapley_sampling
from jaxviz.attribution.perturbation.shapley import shapley_values as shapley_values
from jaxviz.attribution.perturbation.shapley_kernel import kernel_shap as kernel_shap
from jaxviz.attribution.perturbation.windows import occlusion as occlusion
