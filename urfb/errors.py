"""Every exception that urfb raises on purpose.

What a user can fix is an `InputError`:

    UrfbError
    ├── InputError              the user can fix it; the CLI prints it and exits with 2
    │   ├── GridError           a grid file: every mistake in it, each with its place
    │   ├── NotationError       a network's text does not parse, or its sizes do not fit
    │   ├── SelectionError      a filter or a name that selects nothing that exists
    │   ├── DataError           a data set that is missing, damaged or unknown
    │   ├── PluginError         a user's model, rule or data set that cannot be imported or used
    │   ├── ReportError         a user's figures and tables: a file that cannot be run, or what it declares
    │   ├── DeviceError         a device that this machine or this version cannot use
    │   └── StoreError          a store that cannot be read or written
    ├── OutputError             standard output cannot be written
    └── DivergedError           training left the finite numbers; stored as the run's failure
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

SYNONYMS = {
    # settings
    "network": {"model", "architecture"},
    "epsilon": {"ε", "eps"},
    "decay": {"λ", "lambda"},
    "step_size": {"η", "eta", "lr", "learningrate"},
    "batch_size": {"bs"},
    "seed": {"randomseed"},
    # values of settings
    "bp": {"backprop", "backpropagation", "sgd"},
    "frfb": {"fa", "feedbackalignment"},
    "kolen-pollack": {"kp"},
    "usf": {"signsymmetry"},
    "dfa": {"directfeedbackalignment"},
    "softmax": {"crossentropy", "ce"},
    "float32": {"fp32", "float", "single"},
    "float64": {"fp64", "double"},
    "bfloat16": {"bf16"},
    # devices and states
    "cuda": {"gpu"},
    "done": {"finished", "completed"},
}
"""Names of other tools and papers that look unlike urfb's, in lower case and without '-', '_' and spaces."""

MOST_LISTED = 60
"""Of more choices, which are identities of runs, five are listed."""


class UrfbError(Exception):
    """Base of every exception that urfb raises on purpose."""


class InputError(UrfbError):
    """A user's input is wrong; the message says what, where and what is allowed."""


class GridError(InputError):
    """All mistakes of a grid file, one a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class NotationError(InputError):
    """A network written in the paper's notation that cannot be built."""


class SelectionError(InputError):
    """A filter, experiment or figure that does not exist."""


class DataError(InputError):
    """A data set that is missing, damaged or unknown."""


class PluginError(InputError):
    """A user's model, rule or data set that cannot be imported or used."""


class ReportError(InputError):
    """A file of a user's figures and tables that cannot be run, or what it declares."""


class DeviceError(InputError):
    """A device that this machine, or this version of urfb, cannot use."""


class StoreError(InputError):
    """A store that cannot be opened, read or written."""


class OutputError(UrfbError):
    """Standard output cannot be written any more: its reader is gone, or the disk is full."""


class DivergedError(UrfbError):
    """Training left the finite numbers."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return what is allowed instead of `word`: "allowed: bp, …", or "did you mean 'urfb'? (allowed: bp, …)"."""
    choices, lower = list(allowed), str(word).lower()
    plain = re.sub(r"[-_ ]", "", lower)
    close = (
        [name for name, others in SYNONYMS.items() if plain in others and name in choices]
        or [name for name in choices if len(lower) > 2 and name.startswith(lower)]
        or difflib.get_close_matches(lower, choices, n=1)
    )
    if len(choices) > MOST_LISTED:
        choices = [*choices[:5], f"and {len(choices) - 5} more"]
    listed = f"allowed: {', '.join(choices) or 'none'}"
    return f"did you mean '{close[0]}'? ({listed})" if close else listed
