"""The paper's claims as statistical tests on stored runs; docs/claims.md says which, and why."""

from urfb.report.claims.evaluating import SETTINGS, ClaimResult, ComponentResult, commands, evaluate, exit_code
from urfb.report.claims.measures import PAPER, SHORT, Setting
from urfb.report.claims.statistics import Verdict
from urfb.report.claims.table import CLAIMS

__all__ = [
    "CLAIMS",
    "PAPER",
    "SETTINGS",
    "SHORT",
    "ClaimResult",
    "ComponentResult",
    "Setting",
    "Verdict",
    "commands",
    "evaluate",
    "exit_code",
]
