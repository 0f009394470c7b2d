"""The traced program of a model: its layers by name, and its evaluation with interventions."""

from jaxviz.program import paths as paths
