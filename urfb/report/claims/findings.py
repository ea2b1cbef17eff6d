"""The verdict on each claim over all settings, so that a claim counts once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from urfb.report.claims.evaluating import ClaimResult
from urfb.report.claims.measures import SETTINGS
from urfb.report.claims.statistics import LEAST_SEEDS, Verdict


@dataclass(frozen=True)
class Finding:
    """One claim with its results in all tested settings, the longest runs first."""

    results: tuple[ClaimResult, ...]

    @property
    def name(self) -> str:
        """The claim's name."""
        return self.results[0].name

    @property
    def deciding(self) -> ClaimResult:
        """The result in the longest setting that decides the claim; if none does, in the longest setting."""
        decided = (result for result in self.results if result.verdict is not Verdict.UNDECIDED)
        return next(decided, self.results[0])

    @property
    def verdict(self) -> Verdict:
        """The verdict of the deciding result."""
        return self.deciding.verdict

    @property
    def shortfall(self) -> str:
        """The seeds that each setting has and needs if no setting decides the claim; otherwise empty."""
        if self.verdict is not Verdict.UNDECIDED:
            return ""
        return "; ".join(f"{_seeds(result)} in the setting {result.setting.name}" for result in self.results)


def findings(results: Iterable[ClaimResult]) -> list[Finding]:
    """Return the results grouped by claim, in their order; within a claim, the longest runs first."""
    groups: dict[str, list[ClaimResult]] = {}
    for result in results:
        groups.setdefault(result.name, []).append(result)
    order = list(SETTINGS)
    return [
        Finding(tuple(sorted(group, key=lambda result: order.index(result.setting.name)))) for group in groups.values()
    ]


def _seeds(result: ClaimResult) -> str:
    """Return how many seeds the component with the fewest has, or why enough seeds do not decide."""
    undecided = [component for component in result.components if component.verdict is Verdict.UNDECIDED]
    fewest = min(undecided, key=lambda component: component.tested.n)
    if fewest.tested.n < LEAST_SEEDS:
        return f"{fewest.tested.n} of {LEAST_SEEDS} {fewest.unit}s"
    blocked = any(component.verdict is not component.tested.verdict for component in undecided)
    return "some runs are unusable" if blocked else f"undecided with {fewest.tested.n} {fewest.unit}s"
