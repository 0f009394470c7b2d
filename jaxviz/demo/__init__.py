"""`jaxviz demo`: two networks trained, watched and explained on real data, in about a minute."""

from jaxviz.demo.tour import run as run
