"""The tests behind a verdict: does the mean of a few paired numbers lie in the claimed range?

docs/claims.md gives the reasons for these tests and the number of seeds that they need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import stats

ALPHA = 0.05
"""The chance of a wrong verdict, for each claim and each kind of verdict."""

POWER = 0.8
"""The power of the tests at the number of seeds that urfb suggests."""

LEAST_SEEDS = math.ceil(-math.log2(ALPHA))
"""The fewest paired seeds that can decide anything: the smallest p of n signs is 2⁻ⁿ."""

MOST_SEEDS = 1000
"""The largest number of seeds that urfb suggests."""

MOST_EXACT = 13
"""The most seeds for which the test tries every flip of the signs: 8,192 flips."""

RANDOM_FLIPS = 9_999

EQUAL = 1e-9
"""Numbers that differ by less count as equal, because errors are counts of images over thousands."""


class Verdict(str, Enum):
    """The result of a claim's test."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not enough runs"


@dataclass(frozen=True)
class Range:
    """The open interval that should contain a mean, according to a claim; an end may be infinite."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low < value < self.high

    def ends(self) -> list[tuple[float, str]]:
        """Return each finite end with the alternative of the one-sided test against it."""
        both = ((self.low, "greater"), (self.high, "less"))
        return [(end, alternative) for end, alternative in both if math.isfinite(end)]


@dataclass(frozen=True)
class Tested:
    """The test results for one component.

    Attributes:
        verdict: supported, contradicted or not enough runs.
        n: the number of values, one per seed.
        mean: the mean of the values; NaN without values.
        low, high: the two-sided interval of the mean at level 1 − 2α, which supports the claim if it lies within the
            range; NaN with fewer than two values.
        strict_low, strict_high: the interval at `strict_level`, 1 − 2α divided by the number of components, which
            contradicts the claim if it lies outside the range.
        effect: d_z, the mean divided by the standard deviation; NaN if the standard deviation is 0.
        p: the largest p of all one-sided tests against the ends of the range; NaN without tests.
        p_t, p_sign_flip: the largest p of each kind of test.
        seeds_needed: the number of seeds that would decide at the observed mean and spread; None if there is a verdict,
            if there are too few seeds to estimate it, or if no number would decide.
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
    """Test whether the mean of the numbers, one per seed, lies in the claimed range.

    Args:
        numbers: finite numbers.
        claimed: the range; at least one of its ends is finite.
        components: the number of components of the claim. One contradicted component contradicts the claim, so each
            component is tested for that at α divided by this number.
        every: whether the claim is about each seed, not about the mean, so that one number outside the range
            contradicts it.
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
    elif p <= ALPHA:  # impossible with fewer seeds, because of the sign-flip test
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
    """Return Student's interval of the mean; if all numbers are equal, both ends are that number."""
    if not _spread(values):
        return float(values[0]), float(values[0])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    return float(low), float(high)


def t_test(values: np.ndarray, end: float, alternative: str) -> float:
    """Return the one-sided p of Student's test of the mean against `end`; NaN if all numbers are equal.

    On differences this is the paired test `scipy.stats.ttest_rel`.
    """
    return float(stats.ttest_1samp(values, end, alternative=alternative).pvalue) if _spread(values) else math.nan


def sign_flip_test(values: np.ndarray, end: float, alternative: str) -> float:
    """Return the one-sided p of the sign-flip test of the distances to `end`.

    The test tries all sign flips of up to `MOST_EXACT` numbers. For more numbers it draws 9,999 flips at random, with a
    fixed seed.
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

    This is a rough guide, because it assumes that the true mean and spread are the observed ones. If the mean is within
    the range, the number is the seeds that would support the claim; otherwise, the seeds that would contradict it.

    Returns:
        The number; None if there is no spread, if the mean is at an end of the range, or if more than 1,000 seeds are
        needed.
    """
    mean, spread = float(values.mean()), _spread(values)
    if not spread:
        return None
    n = np.arange(max(len(values) + 1, LEAST_SEEDS), MOST_SEEDS + 1)
    level = ALPHA if mean in claimed else ALPHA / components
    ends = [end for end, _ in claimed.ends()]
    distances = [abs(mean - end) for end in ends] if mean in claimed else [min(abs(mean - end) for end in ends)]
    # If there are two tests, both must reject: the failure rate is at most the sum of both rates.
    failure = sum(
        stats.nct.cdf(stats.t.isf(level, n - 1), n - 1, distance / spread * np.sqrt(n)) for distance in distances
    )
    enough = n[1 - failure >= POWER]
    return int(enough[0]) if len(enough) else None


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation; 0 if the numbers differ by rounding only."""
    return float(values.std(ddof=1)) if np.ptp(values) > EQUAL else 0.0
