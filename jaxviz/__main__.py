"""`python -m jaxviz` is the command `jaxviz`."""

from jaxviz.cli import command

command()
