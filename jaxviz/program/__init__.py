"""The traced program of a model: its layers by name, and its evaluation with interventions."""

from jaxviz.program import paths as paths
from jaxviz.program._compat import is_top_level as is_top_level
from jaxviz.program.evaluate import Edit as Edit
from jaxviz.program.evaluate import evaluate as evaluate
from jaxviz.program.evaluate import fit as fit
from jaxviz.program.marks import INPUT as INPUT
from jaxviz.program.marks import OUTPUT as OUTPUT
from jaxviz.program.marks import mark as mark
from jaxviz.program.marks import tag as tag
from jaxviz.program.rewrite import Active as Active
from jaxviz.program.rewrite import Rule as Rule
from jaxviz.program.rewrite import Rules as Rules
from jaxviz.program.trace import Key as Key
from jaxviz.program.trace import Program as Program
from jaxviz.program.trace import Site as Site
from jaxviz.program.trace import Where as Where
from jaxviz.program.trace import trace as trace
