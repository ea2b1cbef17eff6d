"""The tests behind a verdict: does the mean of a few paired numbers lie in the range that is claimed?

docs/claims.md says why these tests, and how many seeds they need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import stats

ALPHA = 0.05
"""The chance of a wrong verdict, of each claim and each kind of verdict."""

POWER = 0.8
"""What a number of seeds that is named should find the claim with."""

LEAST_SEEDS = math.ceil(-math.log2(ALPHA))
"""Paired seeds below which nothing is decided: n signs cannot give a smaller p than 2⁻ⁿ."""

MOST_SEEDS = 1000
"""No larger number of seeds is named."""

MOST_EXACT = 13
"""Seeds up to which every flip of the signs is tried: 8,192 of them."""

RANDOM_FLIPS = 9_999

EQUAL = 1e-9
"""Numbers that differ by less are equal: errors are counts of images over thousands."""


class Verdict(str, Enum):
    """What the runs say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not enough runs"


@dataclass(frozen=True)
class Range:
    """The open interval in which a claim says that a mean lies; an end may be infinite."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low < value < self.high

    def ends(self) -> list[tuple[float, str]]:
        """Return each finite end, and the alternative of the one-sided test against it."""
        both = ((self.low, "greater"), (self.high, "less"))
        return [(end, alternative) for end, alternative in both if math.isfinite(end)]


@dataclass(frozen=True)
class Tested:
    """What the tests say of one component.

    Attributes:
        verdict: supported, contradicted or not enough runs.
        n: how many numbers there are, one a seed.
        mean: their mean; NaN without any, as `low` and `high` are without two.
        low, high: the interval of the mean, two-sided at 1 − 2α; within the range, it supports.
        strict_low, strict_high: the interval at `strict_level`, 1 − 2α over the components; outside of the range, it
            contradicts.
        effect: d_z, the mean over the standard deviation; NaN where that is 0.
        p: the largest p of all one-sided tests against the ends of the range; NaN where there is none.
        p_t, p_sign_flip: the largest of each kind.
        seeds_needed: how many seeds would decide, if mean and spread are those observed; None where the verdict stands,
            there are too few to say, or no number would.
    """

    verdict: Verdict
    n: int
    mean: float
    low: float
    high: float
    strict_level: float
    strict_low: float
    strict_high: float
    effect: float
    p: float
    p_t: float
    p_sign_flip: float
    seeds_needed: int | None


def examine(numbers: Sequence[float], claimed: Range, components: int = 1, every: bool = False) -> Tested:
    """Test whether the mean of the numbers, one a seed, lies in the range that is claimed.

    Args:
        numbers: finite ones.
        claimed: the range; at least one of its ends is finite.
        components: how many components the claim has; one that is contradicted contradicts all of it, so each may do so
            at α over their number only.
        every: the claim is about each seed, not about their mean: one number outside of the range contradicts it.
    """
    values = np.asarray(numbers, dtype=float)
    n = len(values)
    level = 1 - 2 * ALPHA / components
    if n < 2:
        mean, none = (float(values[0]) if n else math.nan), math.nan
        return Tested(Verdict.UNDECIDED, n, mean, none, none, level, none, none, none, none, none, none, None)
    low, high = interval(values, 1 - 2 * ALPHA)
    strict_low, strict_high = interval(values, level)
    p_t = max(t_test(values, end, alternative) for end, alternative in claimed.ends())
    p_sign_flip = max(sign_flip_test(values, end, alternative) for end, alternative in claimed.ends())
    p = float(np.nanmax([p_t, p_sign_flip]))
    outside = claimed.low - strict_high > EQUAL or strict_low - claimed.high > EQUAL
    exception = every and any(value not in claimed for value in values)

    verdict = Verdict.UNDECIDED
    if n >= LEAST_SEEDS and (outside or exception):
        verdict = Verdict.CONTRADICTED
    elif p <= ALPHA:  # which the sign flips of fewer seeds cannot give
        verdict = Verdict.SUPPORTED
    undecided = n >= LEAST_SEEDS and verdict is Verdict.UNDECIDED
    spread = _spread(values)
    return Tested(
        verdict=verdict,
        n=n,
        mean=float(values.mean()),
        low=low,
        high=high,
        strict_level=level,
        strict_low=strict_low,
        strict_high=strict_high,
        effect=float(values.mean()) / spread if spread else math.nan,
        p=p,
        p_t=p_t,
        p_sign_flip=p_sign_flip,
        seeds_needed=seeds_needed(values, claimed, components) if undecided else None,
    )


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Return Student's interval of the mean; of equal numbers, that number twice."""
    if not _spread(values):
        return float(values[0]), float(values[0])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    return float(low), float(high)


def t_test(values: np.ndarray, end: float, alternative: str) -> float:
    """Return the one-sided p of Student's test of the mean against `end`; NaN for equal numbers, which have no t.

    On differences this is the paired test, `scipy.stats.ttest_rel`.
    """
    return float(stats.ttest_1samp(values, end, alternative=alternative).pvalue) if _spread(values) else math.nan


def sign_flip_test(values: np.ndarray, end: float, alternative: str) -> float:
    """Return the one-sided p of flipping the signs of the distances to `end`, in every way that there is.

    Beyond `MOST_EXACT` numbers, 9,999 ways drawn at random, always the same ones.
    """
    flips = math.inf if len(values) <= MOST_EXACT else RANDOM_FLIPS
    distances = np.where(np.abs(values - end) < EQUAL, 0.0, values - end)
    tested = stats.permutation_test(
        (distances,),
        np.mean,
        permutation_type="samples",
        alternative=alternative,
        n_resamples=flips,
        vectorized=True,
        random_state=0,
    )
    return float(tested.pvalue)


def seeds_needed(values: np.ndarray, claimed: Range, components: int = 1) -> int | None:
    """Return the smallest larger number of seeds at which t tests would decide with a power of 80 %.

    The true mean and spread are taken to be those observed, so this is a rough guide. A mean within the range is asked
    how many seeds support the claim, one outside of it how many contradict it.

    Returns:
        The number; None if there is no spread, the mean is at an end of the range, or it takes more than 1,000 seeds.
    """
    mean, spread = float(values.mean()), _spread(values)
    if not spread:
        return None
    n = np.arange(max(len(values) + 1, LEAST_SEEDS), MOST_SEEDS + 1)
    level = ALPHA if mean in claimed else ALPHA / components
    ends = [end for end, _ in claimed.ends()]
    distances = [abs(mean - end) for end in ends] if mean in claimed else [min(abs(mean - end) for end in ends)]
    # Of two tests both must reject: their failures add up to no less than the failure of both.
    failure = sum(
        stats.nct.cdf(stats.t.isf(level, n - 1), n - 1, distance / spread * np.sqrt(n)) for distance in distances
    )
    enough = n[1 - failure >= POWER]
    return int(enough[0]) if len(enough) else None


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation, 0 where the numbers are equal but for rounding."""
    return float(values.std(ddof=1)) if np.ptp(values) > EQUAL else 0.0
