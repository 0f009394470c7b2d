"""jaxviz: what is my network doing, and why did it answer that?

The headline verbs are attributes of this package (`jaxviz.Model`, `jaxviz.integrated_gradients`, ...); the topics are its
subpackages: `attribution`, `data`, `models`, `train`, `watch`, `tensorboard`, `figures`. Both load at first use.
"""

from typing import TYPE_CHECKING

from jaxviz._lazy import lazy
from jaxviz._version import __version__ as __version__

if TYPE_CHECKING:
    from jaxviz import attribution as attribution
    from jaxviz import data as data
    from jaxviz import figures as figures
    from jaxviz import models as models
    from jaxviz import tensorboard as tensorboard
    from jaxviz import train as train
    from jaxviz import watch as watch
    from jaxviz.attribution import AttributionWarning as AttributionWarning
    from jaxviz.attribution import Diagnosis as Diagnosis
    from jaxviz.attribution import Finding as Finding
    from jaxviz.attribution import ablation_cam as ablation_cam
    from jaxviz.attribution import at_layer as at_layer
    from jaxviz.attribution import attention_maps as attention_maps
    from jaxviz.attribution import attention_rollout as attention_rollout
    from jaxviz.attribution import attention_x_gradient as attention_x_gradient
    from jaxviz.attribution import augmented as augmented
    from jaxviz.attribution import beta_smooth as beta_smooth
    from jaxviz.attribution import blur_integrated_gradients as blur_integrated_gradients
    from jaxviz.attribution import completeness_gap as completeness_gap
    from jaxviz.attribution import conductance as conductance
    from jaxviz.attribution import deconvnet as deconvnet
    from jaxviz.attribution import deep_shap as deep_shap
    from jaxviz.attribution import deeplift as deeplift
    from jaxviz.attribution import diagnose as diagnose
    from jaxviz.attribution import eigen_cam as eigen_cam
    from jaxviz.attribution import eigen_grad_cam as eigen_grad_cam
    from jaxviz.attribution import expected_gradients as expected_gradients
    from jaxviz.attribution import explain_dataset as explain_dataset
    from jaxviz.attribution import feature_ablation as feature_ablation
    from jaxviz.attribution import feature_factorization as feature_factorization
    from jaxviz.attribution import feature_permutation as feature_permutation
    from jaxviz.attribution import fem_cam as fem_cam
    from jaxviz.attribution import finer_target as finer_target
    from jaxviz.attribution import full_grad as full_grad
    from jaxviz.attribution import grad_cam as grad_cam
    from jaxviz.attribution import grad_cam_pp as grad_cam_pp
    from jaxviz.attribution import gradient as gradient
    from jaxviz.attribution import guided_backprop as guided_backprop
    from jaxviz.attribution import guided_grad_cam as guided_grad_cam
    from jaxviz.attribution import guided_integrated_gradients as guided_integrated_gradients
    from jaxviz.attribution import hires_cam as hires_cam
    from jaxviz.attribution import input_x_gradient as input_x_gradient
    from jaxviz.attribution import integrated_gradients as integrated_gradients
    from jaxviz.attribution import internal_influence as internal_influence
    from jaxviz.attribution import kernel_shap as kernel_shap
    from jaxviz.attribution import kpca_cam as kpca_cam
    from jaxviz.attribution import layer_cam as layer_cam
    from jaxviz.attribution import lime as lime
    from jaxviz.attribution import lrp as lrp
    from jaxviz.attribution import neuron_conductance as neuron_conductance
    from jaxviz.attribution import occlusion as occlusion
    from jaxviz.attribution import random_cam as random_cam
    from jaxviz.attribution import relevance_report as relevance_report
    from jaxviz.attribution import rise as rise
    from jaxviz.attribution import saliency as saliency
    from jaxviz.attribution import score_cam as score_cam
    from jaxviz.attribution import seg_eigen_cam as seg_eigen_cam
    from jaxviz.attribution import shapley_cam as shapley_cam
    from jaxviz.attribution import shapley_sampling as shapley_sampling
    from jaxviz.attribution import shapley_values as shapley_values
    from jaxviz.attribution import smooth as smooth
    from jaxviz.attribution import superpixels as superpixels
    from jaxviz.attribution import tag_attention as tag_attention
    from jaxviz.attribution import unit as unit
    from jaxviz.attribution import xgrad_cam as xgrad_cam
    from jaxviz.attribution import xrai as xrai
    from jaxviz.model import Model as Model
    from jaxviz.program import tag as tag
    from jaxviz.summaries import Summary as Summary
    from jaxviz.summaries import summary as summary
else:  # hidden from type checkers, for which a module with `__getattr__` has every name
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Model": ".model",
            "Summary": ".summaries",
            "summary": ".summaries",
            "tag": ".program",
            **dict.fromkeys(
                (
                    "AttributionWarning",
                    "Diagnosis",
                    "Finding",
                    "ablation_cam",
                    "at_layer",
                    "attention_maps",
                    "attention_rollout",
                    "attention_x_gradient",
                    "augmented",
                    "beta_smooth",
                    "blur_integrated_gradients",
                    "completeness_gap",
                    "conductance",
                    "deconvnet",
                    "deep_shap",
                    "deeplift",
                    "diagnose",
                    "eigen_cam",
                    "eigen_grad_cam",
                    "expected_gradients",
                    "explain_dataset",
                    "feature_ablation",
                    "feature_factorization",
                    "feature_permutation",
                    "fem_cam",
                    "finer_target",
                    "full_grad",
                    "grad_cam",
                    "grad_cam_pp",
                    "gradient",
                    "guided_backprop",
                    "guided_grad_cam",
                    "guided_integrated_gradients",
                    "hires_cam",
                    "input_x_gradient",
                    "integrated_gradients",
                    "internal_influence",
                    "kernel_shap",
                    "kpca_cam",
                    "layer_cam",
                    "lime",
                    "lrp",
                    "neuron_conductance",
                    "occlusion",
                    "random_cam",
                    "relevance_report",
                    "rise",
                    "saliency",
                    "score_cam",
                    "seg_eigen_cam",
                    "shapley_cam",
                    "shapley_sampling",
                    "shapley_values",
                    "smooth",
                    "superpixels",
                    "tag_attention",
                    "unit",
                    "xgrad_cam",
                    "xrai",
                ),
                ".attribution",
            ),
        },
        submodules=("attribution", "data", "figures", "models", "tensorboard", "train", "watch"),
    )
