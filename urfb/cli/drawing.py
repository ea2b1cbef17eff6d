"""matplotlib without the user's settings, so that a figure of one store is the same file everywhere."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def import_matplotlib() -> None:
    """Import matplotlib as it is by default: no `matplotlibrc`, no styles of the user's, no `MPLBACKEND`.

    matplotlib reads these when it is imported, and fails where they are broken. `matplotlibrc` in the working folder
    comes first, whatever the environment says, so the import is done from matplotlib's own folder.
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
        matplotlib.get_configdir = lambda: folder  # where `stylelib` is looked for
        import matplotlib.style

        matplotlib.get_configdir = configuration
    finally:
        os.fchdir(here)
        os.close(here)
