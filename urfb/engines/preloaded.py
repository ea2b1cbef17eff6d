"""The module that the server of `urfb.engines.processes` imports: it imports everything that training needs."""

import sys

# The server starts with `python -c`, which searches the working folder first. A user's module there must not hide a
# library.
sys.path[:] = [folder for folder in sys.path if folder]

import urfb.engines.measuring  # noqa: E402
import urfb.training.trainer  # noqa: E402, F401
