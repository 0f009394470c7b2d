"""Attention: where the layers of attention look, and what of that counts for the answer."""

from jaxviz.attribution.attention.maps import attention_maps as attention_maps
from jaxviz.attribution.attention.relevance import attention_x_gradient as attention_x_gradient
from jaxviz.attribution.attention.rollout import attention_rollout as attention_rollout
from jaxviz.attribution.attention.view import tag_attention as tag_attention
