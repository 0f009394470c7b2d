"""`python -m jaxviz` is the command `jaxviz`."""

import sys

from jaxviz.cli import main

sys.exit(main())
