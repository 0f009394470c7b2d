"""Whole data sets: any method over all of their examples, with running statistics."""

from jaxviz.attribution.datasets.passes import explain_dataset as explain_dataset
