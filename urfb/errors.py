"""Every exception that urfb raises on purpose.

An `InputError` is a problem that you can fix. The command line prints its message and exits with code 2.

    UrfbError
    ├── InputError              a wrong input
    │   ├── GridError           mistakes in a grid file, each with its line and column
    │   ├── NotationError       a network text that does not parse, or whose sizes do not fit
    │   ├── SelectionError      a filter or name that matches nothing, or matches more than one run
    │   ├── DataError           a data set that is missing, damaged or unknown
    │   ├── PluginError         a custom model, rule or data set that cannot be imported or used
    │   ├── ReportError         a file of custom figures and tables that cannot be run, or a wrong declaration in it
    │   ├── DeviceError         a device that this machine or this version of urfb cannot use
    │   └── StoreError          a store that cannot be opened, read or written
    ├── OutputError             standard output that can no longer be written
    └── DivergedError           a loss that is infinite or NaN; stored as the run's failure
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
    "bp": {"backprop", "backpropagation"},
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
"""Other names for urfb's, as other tools and papers use them, in lower case and without '-', '_' and spaces."""

MOST_LISTED = 60
"""The most choices that `nearest` lists in full. Longer lists are identities of runs: it shows the first five."""


class UrfbError(Exception):
    """Base of every exception that urfb raises on purpose."""


class InputError(UrfbError):
    """A wrong input; the message says what is wrong, where, and what is allowed."""


class GridError(InputError):
    """All mistakes in a grid file, one per line of the message."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class NotationError(InputError):
    """A network text that does not parse, or whose sizes do not fit."""


class SelectionError(InputError):
    """A filter, experiment, rule, run or figure that does not exist, or that is ambiguous."""


class DataError(InputError):
    """A data set that is missing, damaged or unknown."""


class PluginError(InputError):
    """A custom model, rule or data set that cannot be imported or used."""


class ReportError(InputError):
    """A file of custom figures and tables that cannot be run, or a wrong declaration in it."""


class DeviceError(InputError):
    """A device that this machine, or this version of urfb, cannot use."""


class StoreError(InputError):
    """A store that cannot be opened, read or written."""


class OutputError(UrfbError):
    """Standard output that can no longer be written: its reader has closed it, or the disk is full."""


class DivergedError(UrfbError):
    """A loss that is infinite or NaN."""


def counted(number: int, noun: str) -> str:
    """Return '1 epoch' or '2 epochs'."""
    return f"{number} {noun}{'s' * (number != 1)}"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return a hint for an unknown word: "allowed: bp, …", or "did you mean 'urfb'? (allowed: bp, …)"."""
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
