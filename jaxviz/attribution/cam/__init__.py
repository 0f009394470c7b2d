"""Class activation maps: where on a layer's grid the channels that speak for the target are active."""

from jaxviz.attribution.cam.drawn import random_cam as random_cam
from jaxviz.attribution.cam.eigen import eigen_cam as eigen_cam
from jaxviz.attribution.cam.eigen import eigen_grad_cam as eigen_grad_cam
from jaxviz.attribution.cam.eigen import seg_eigen_cam as seg_eigen_cam
from jaxviz.attribution.cam.elementwise import hires_cam as hires_cam
from jaxviz.attribution.cam.elementwise import layer_cam as layer_cam
from jaxviz.attribution.cam.factorization import feature_factorization as feature_factorization
from jaxviz.attribution.cam.full import full_grad as full_grad
from jaxviz.attribution.cam.guided import guided_grad_cam as guided_grad_cam
from jaxviz.attribution.cam.kernel import kpca_cam as kpca_cam
from jaxviz.attribution.cam.scored import ablation_cam as ablation_cam
from jaxviz.attribution.cam.scored import score_cam as score_cam
from jaxviz.attribution.cam.shapley import shapley_cam as shapley_cam
from jaxviz.attribution.cam.strong import fem_cam as fem_cam
from jaxviz.attribution.cam.weighted import grad_cam as grad_cam
from jaxviz.attribution.cam.weighted import grad_cam_pp as grad_cam_pp
from jaxviz.attribution.cam.weighted import xgrad_cam as xgrad_cam
