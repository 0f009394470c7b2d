"""Networks in Flax Linen: pure modules, called as `module.apply(variables, inputs, train=False)`."""

from jaxviz.models.activations import ACTIVATIONS as ACTIVATIONS
from jaxviz.models.activations import Activation as Activation
from jaxviz.models.activations import activation as activation
from jaxviz.models.cnn import CNN as CNN
from jaxviz.models.efficientnet import EfficientNetLite0 as EfficientNetLite0
from jaxviz.models.mlp import MLP as MLP
from jaxviz.models.pretrained import efficientnet_lite0 as efficientnet_lite0
from jaxviz.models.pretrained import imagenet_classes as imagenet_classes
from jaxviz.models.recurrent import RecurrentClassifier as RecurrentClassifier
