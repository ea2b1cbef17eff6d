import itertools
import math

import numpy as np
import pytest
from scipy import stats

from urfb.report.claims.statistics import (
    ALPHA,
    LEAST_SEEDS,
    Range,
    Verdict,
    examine,
    interval,
    seeds_needed,
    sign_flip_test,
    t_test,
)

CLOSE, WORSE = Range(-0.04, 0.04), Range(0)


def test_five_seeds_are_the_fewest_that_a_sign_flip_test_can_reject():
    assert 2.0**-LEAST_SEEDS <= ALPHA < 2.0 ** -(LEAST_SEEDS - 1)


def test_a_difference_is_tested_as_scipy_tests_pairs():
    urfb, frfb = np.random.default_rng(0).normal([[0.33], [0.36]], 0.02, (2, 7))
    pairs = stats.ttest_rel(frfb, urfb, alternative="greater")
    assert t_test(frfb - urfb, 0, "greater") == pytest.approx(pairs.pvalue)
    two_sided = stats.ttest_rel(frfb, urfb).confidence_interval(0.9)
    assert interval(frfb - urfb, 0.9) == pytest.approx(tuple(two_sided))


def test_student_by_hand():
    # mean 2, standard deviation 1, standard error 1/√3
    tested = examine([1.0, 2.0, 3.0], WORSE)
    assert tested.mean == 2
    assert tested.effect == 2
    assert tested.p_t == pytest.approx(stats.t.sf(2 * math.sqrt(3), 2))
    assert (tested.low, tested.high) == pytest.approx((2 - 2.919986 / math.sqrt(3), 2 + 2.919986 / math.sqrt(3)))


def test_sign_flips_by_hand():
    values = np.array([0.01, 0.02, -0.005, 0.04, 0.03, 0.015])
    flipped = [np.dot(signs, values) for signs in itertools.product([1, -1], repeat=len(values))]
    assert sign_flip_test(values, 0, "greater") == pytest.approx(np.mean(np.array(flipped) >= values.sum() - 1e-12))
    assert sign_flip_test(np.full(5, 0.1), 0, "greater") == 2.0**-5
    assert sign_flip_test(np.full(5, 0.1), 0, "less") == 1
    assert sign_flip_test(np.full(5, 0.1), 0.1, "greater") == 1


def test_random_sign_flips_of_many_seeds_are_reproducible():
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    p = sign_flip_test(values, 0, "greater")
    assert p == sign_flip_test(values, 0, "greater")
    assert p == pytest.approx(t_test(values, 0, "greater"), abs=0.02)


def test_p_is_the_larger_of_all_tests():
    values = np.array([0.010, 0.022, 0.018, 0.025, 0.030])
    tested = examine(values, CLOSE)
    assert tested.p_t == pytest.approx(
        max(
            stats.ttest_1samp(values, -0.04, alternative="greater").pvalue,
            stats.ttest_1samp(values, 0.04, alternative="less").pvalue,
        )
    )
    assert tested.p == max(tested.p_t, tested.p_sign_flip) == 2.0**-5


@pytest.mark.parametrize(
    ("numbers", "claimed", "verdict"),
    [
        ([0.01, 0.00, -0.01, 0.005, 0.002], CLOSE, Verdict.SUPPORTED),
        ([0.10, 0.11, 0.09, 0.10, 0.12], CLOSE, Verdict.CONTRADICTED),
        ([-0.10, -0.11, -0.09, -0.10, -0.12], CLOSE, Verdict.CONTRADICTED),
        ([0.03, 0.05, 0.04, 0.03, 0.05], CLOSE, Verdict.UNDECIDED),
        ([0.10, 0.11, 0.09, 0.10, 0.12], WORSE, Verdict.SUPPORTED),
        ([-0.10, -0.11, -0.09, -0.10, -0.12], WORSE, Verdict.CONTRADICTED),
        ([0.10, -0.11, 0.09, -0.10, 0.12], WORSE, Verdict.UNDECIDED),
        ([0.01, 0.02, 0.015, 0.012, 0.018], Range(0, 0.04), Verdict.SUPPORTED),
        ([0.4, 0.45, 0.44, 0.41, 0.43], Range(high=0.5), Verdict.SUPPORTED),
        ([0.10, 0.11, 0.09, 0.10], WORSE, Verdict.UNDECIDED),  # four seeds never decide
        ([-0.10, -0.11, -0.09, -0.10], WORSE, Verdict.UNDECIDED),
        ([0.1], WORSE, Verdict.UNDECIDED),
        ([], WORSE, Verdict.UNDECIDED),
    ],
)
def test_verdicts(numbers, claimed, verdict):
    assert examine(numbers, claimed).verdict is verdict


def test_one_seed_that_disagrees_prevents_supported():
    # Student's test alone would reject.
    tested = examine([0.02, 0.021, 0.022, 0.023, -0.0001], WORSE)
    assert tested.p_t < ALPHA < tested.p_sign_flip
    assert tested.verdict is Verdict.UNDECIDED
    assert tested.seeds_needed > 5


@pytest.mark.parametrize(
    ("number", "claimed", "verdict"),
    [
        (0.1, WORSE, Verdict.SUPPORTED),
        (-0.1, WORSE, Verdict.CONTRADICTED),
        (0.0, WORSE, Verdict.UNDECIDED),  # the same runs: neither worse nor better
        (0.0, CLOSE, Verdict.SUPPORTED),
        (0.04, CLOSE, Verdict.UNDECIDED),
    ],
)
def test_the_sign_flip_test_alone_decides_on_equal_numbers(number, claimed, verdict):
    # Equal differences of error rates can differ in the last bits.
    numbers = number + np.array([0, 1e-17, -1e-17, 2e-17, 0])
    tested = examine(numbers, claimed)
    assert tested.verdict is verdict
    assert math.isnan(tested.p_t)
    assert math.isnan(tested.effect)
    assert tested.low == tested.high == pytest.approx(number)
    assert tested.seeds_needed is None


def test_equal_numbers_at_an_end_of_the_range_decide_nothing():
    assert CLOSE.high < 0.54 - 0.50  # in the last bit
    assert examine([0.54 - 0.50] * 5, CLOSE).verdict is Verdict.UNDECIDED
    assert examine([0.46 - 0.50] * 5, CLOSE).verdict is Verdict.UNDECIDED
    assert examine([0.5401 - 0.50] * 5, CLOSE).verdict is Verdict.CONTRADICTED


def test_each_of_several_components_contradicts_at_its_share_of_alpha():
    numbers = [-0.02, -0.005, -0.012, -0.03, -0.008]
    alone, among_six = examine(numbers, WORSE), examine(numbers, WORSE, components=6)
    assert alone.verdict is Verdict.CONTRADICTED
    assert among_six.verdict is Verdict.UNDECIDED
    assert (among_six.low, among_six.high) == (alone.low, alone.high)
    assert among_six.strict_level == pytest.approx(1 - 0.1 / 6)
    strict = stats.ttest_1samp(numbers, 0).confidence_interval(1 - 0.1 / 6)
    assert (among_six.strict_low, among_six.strict_high) == pytest.approx(tuple(strict))
    values = np.array(numbers)
    assert among_six.seeds_needed == seeds_needed(values, WORSE, 6) > seeds_needed(values, WORSE)


def test_never_is_contradicted_by_one_seed():
    numbers = [0.7, 0.8, 0.75, 0.72, 0.6, 0.99995]
    assert examine(numbers, Range(high=0.9999)).verdict is Verdict.SUPPORTED
    assert examine(numbers, Range(high=0.9999), every=True).verdict is Verdict.CONTRADICTED


@pytest.mark.parametrize(("mean", "claimed", "alternative"), [(0.02, CLOSE, "less"), (-0.01, WORSE, "less")])
def test_the_suggested_number_of_seeds_has_a_power_of_80_percent(mean, claimed, alternative):
    """Simulate experiments of the suggested size: the t test rejects in 80 % of them, and in fewer of smaller ones."""
    pattern = np.array([-1.5, -0.5, 0.5, 1.5, 0.0])
    values = mean + pattern * 0.03 / pattern.std(ddof=1)
    needed = seeds_needed(values, claimed)
    end = claimed.high if math.isfinite(claimed.high) else claimed.low
    random = np.random.default_rng(0)

    def power(n):
        drawn = random.normal(mean, 0.03, (20_000, n))
        p = stats.ttest_1samp(drawn, end, axis=1, alternative=alternative).pvalue
        if claimed is CLOSE:
            p = np.maximum(p, stats.ttest_1samp(drawn, claimed.low, axis=1, alternative="greater").pvalue)
        return (p <= ALPHA).mean()

    assert power(needed) == pytest.approx(0.8, abs=0.05)
    assert power(needed) > 0.785
    assert power(needed - 2) < 0.8


def test_no_number_of_seeds_is_suggested_for_a_mean_at_an_end():
    assert seeds_needed(np.array([0.03, 0.05, 0.04, 0.03, 0.05]), CLOSE) is None


@pytest.mark.parametrize("claimed", [WORSE, CLOSE])
@pytest.mark.parametrize(("n", "times"), [(5, 100), pytest.param(8, 2000, marks=pytest.mark.slow)])
def test_a_claim_that_just_fails_is_supported_at_most_at_alpha(claimed, n, times):
    """The mean is at the end of the range: 5 % of such experiments may be supported, and 5 % contradicted."""
    end = claimed.high if math.isfinite(claimed.high) else claimed.low
    random = np.random.default_rng(n)
    verdicts = [examine(random.normal(end, 0.01, n), claimed).verdict for _ in range(times)]
    limit = stats.binom.isf(1e-3, times, ALPHA)
    assert 0 < verdicts.count(Verdict.SUPPORTED) <= limit
    assert verdicts.count(Verdict.CONTRADICTED) <= limit
