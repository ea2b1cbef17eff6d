"""Import matplotlib without the user's settings, so that a store gives the same figures on every machine."""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec
from pathlib import Path


def import_matplotlib() -> None:
    """Import matplotlib with its defaults: without the user's `matplotlibrc`, styles and `MPLBACKEND`.

    matplotlib reads them on import, and fails if they are broken. It always reads `matplotlibrc` in the working folder
    first, so this function imports it from matplotlib's own folder.
    """
    spec = find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.origin is None:
        return
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = os.devnull
    folder = str(Path(spec.origin).parent)
    here = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        import matplotlib

        configuration = matplotlib.get_configdir
        matplotlib.get_configdir = lambda: folder  # it searches `stylelib` there
        import matplotlib.style

        matplotlib.get_configdir = configuration
        # Figures consist of many thousands of objects. Searching for garbage after every 700 new objects, Python's
        # default, takes a tenth of the time.
        gc.set_threshold(20_000, 10, 10)
    finally:
        os.fchdir(here)
        os.close(here)
