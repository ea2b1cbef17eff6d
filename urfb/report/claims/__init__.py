"""The paper's claims as statistical tests on stored runs; docs/claims.md explains them."""

from urfb.report.claims.evaluating import ClaimResult, ComponentResult, commands, evaluate, exit_code
from urfb.report.claims.measures import MEDIUM, PAPER, SETTINGS, SHORT, Setting
from urfb.report.claims.statistics import Verdict
from urfb.report.claims.table import CLAIMS

__all__ = [
    "CLAIMS",
    "MEDIUM",
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
