"""What `urfb.engines.processes` imports in its server: everything that training needs."""

import sys

# The server begins with `python -c`, which looks in the working folder first: a user's module must not hide a library.
sys.path[:] = [folder for folder in sys.path if folder]

import urfb.engines.measuring  # noqa: E402
import urfb.training.trainer  # noqa: E402, F401
