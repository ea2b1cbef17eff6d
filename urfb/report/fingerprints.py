"""Fingerprints of exhibits: hashes of their data, of the code that makes them and of the command."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from urfb import __version__
from urfb.report.exhibits import Data, Exhibit
from urfb.report.selection import own_fields

# The results of a run that an exhibit can show.
OUTCOME = ("state", "epochs_done", "epochs_target", "test_error", "test_epoch", "commit", "device")


def fingerprint(exhibit: Exhibit, data: Data, command: str) -> str:
    """Return a hash that changes whenever the exhibit's files would change."""
    digest = hashlib.sha256(
        f"{_code()} {exhibit.heading} {exhibit.selection.describe()} {command} {exhibit.completed_by}".encode()
    )
    if exhibit.source is not None:
        # The user's file can import any file in its folder. The lock file of an editor can be a broken link.
        for file in sorted(filter(Path.is_file, exhibit.source.parent.glob("*.py"))):
            digest.update(file.read_bytes())
    for panel in data.panels:
        columns = [*own_fields(panel.runs), *(name for name in OUTCOME if name in panel.runs)]
        digest.update(f"{panel.title} {panel.protocols} {panel.runs[columns].to_csv(index=False)}".encode())
    for name, frame in data.measured.items():
        digest.update(f"{name} {list(frame.columns)}".encode())
        digest.update(_rows(frame))
    return digest.hexdigest()[:16]


def _rows(frame: pd.DataFrame) -> bytes:
    """Return hashes of a frame's rows; an array in a cell counts by its bytes."""
    plain = {
        name: values
        if is_numeric_dtype(values) or isinstance(values.dtype, pd.StringDtype)
        else [value.tobytes() if isinstance(value, np.ndarray) else str(value).encode() for value in values]
        for name, values in frame.items()
    }
    hashes: bytes = pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy().tobytes()
    return hashes


@cache
def _code() -> str:
    """Return a hash of the code and images that make exhibits, and of the versions of the libraries."""
    import matplotlib
    import seaborn

    files = Path(__file__).parent.rglob("*")
    sources = sorted(file for file in files if file.suffix in (".py", ".png", ".csv"))
    versions = (__version__, matplotlib.__version__, seaborn.__version__, pd.__version__)
    return hashlib.sha256(b"".join([str(versions).encode(), *(path.read_bytes() for path in sources)])).hexdigest()
