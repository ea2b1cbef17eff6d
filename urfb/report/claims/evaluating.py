"""Verdicts from a store's frames, and the commands that train the missing runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from urfb.errors import SelectionError, nearest
from urfb.report.claims.gathering import Gathered, Lacking, Runs, Simulations
from urfb.report.claims.measures import PAPER, SHORT, Setting
from urfb.report.claims.statistics import LEAST_SEEDS, Range, Tested, Verdict, examine
from urfb.report.claims.table import CLAIMS, Accelerated, Component
from urfb.report.exhibits import Frames

DEFAULT_LOCATION = "results/urfb.sqlite"


@dataclass(frozen=True)
class ComponentResult:
    """The result for one component. The attributes' names are keys of claims.json.

    Attributes:
        word, what, where: the paper's word, a description of the tested number, and the runs.
        claimed: the range that should contain the mean of the numbers.
        every: whether each seed must be in the range, not only the mean.
        points: whether the numbers are error rates, shown in percentage points but stored as fractions.
        unit: the unit of observation, 'seed' or 'draw'.
        difference: whether the number is a difference of runs, so that the effect size d_z has a meaning.
        numbers: the numbers that count, by seed.
        tested: the test results.
        verdict: the tests' verdict, except that an unusable run prevents *supported*.
        lacking: the missing and unusable runs.
        remark: a measure that is not tested, with its name; may be empty.
    """

    word: str
    what: str
    where: str
    claimed: Range
    every: bool
    points: bool
    unit: str
    difference: bool
    numbers: Mapping[int, float]
    tested: Tested
    verdict: Verdict
    lacking: tuple[Lacking, ...]
    remark: str


@dataclass(frozen=True)
class ClaimResult:
    """The verdict on a claim in one setting.

    Attributes:
        name, source, sentence: the claim's name, its place in the paper, and the paper's words.
        setting: the setting in which the claim was tested.
        title: a description of the tested runs.
        verdict: supported if all components are, contradicted if any is.
        components: the result for each component.
        commands: the commands that train the missing runs.
    """

    name: str
    source: str
    sentence: str
    setting: Setting
    title: str
    verdict: Verdict
    components: tuple[ComponentResult, ...]
    commands: tuple[str, ...]


def evaluate(
    frames: Frames, names: Sequence[str] = (), setting: Setting = PAPER, location: str = DEFAULT_LOCATION
) -> list[ClaimResult]:
    """Test claims on a store's runs.

    Args:
        frames: the store.
        names: the claims' names; if empty, all claims that the setting tests.
        setting: one of `SETTINGS`; runs of different settings are never mixed.
        location: the store as the user named it, for the commands in the results.

    Raises:
        SelectionError: a claim does not exist, or the setting does not test it.
    """
    available = [name for name, claim in CLAIMS.items() if claim.components(setting)]
    for name in names:
        if name not in CLAIMS:
            raise SelectionError(f"there is no claim '{name}': {nearest(name, CLAIMS)}")
        if name not in available:
            allowed = " or ".join(tested.name for tested in CLAIMS[name].settings)
            raise SelectionError(
                f"the setting {setting.name} does not test claim {name}; use --setting {allowed}, or choose from the "
                f"claims that {setting.name} tests: {', '.join(available)}"
            )
    chosen = {name: CLAIMS[name].components(setting) for name in available if not names or name in names}
    components_of_all = [component for components in chosen.values() for component in components]
    runs = Runs(frames, [component for component in components_of_all if isinstance(component, Component)], setting)
    simulations = Simulations(
        frames, [component for component in components_of_all if isinstance(component, Accelerated)]
    )

    results = []
    for name, components in chosen.items():
        parts = tuple(
            _result(
                component,
                runs.gather(component) if isinstance(component, Component) else simulations.gather(component),
                len(components),
                setting,
            )
            for component in components
        )
        results.append(
            ClaimResult(
                name=name,
                source=CLAIMS[name].source,
                sentence=CLAIMS[name].sentence,
                setting=setting,
                title=CLAIMS[name].title(setting),
                verdict=_overall(part.verdict for part in parts),
                components=parts,
                commands=commands([lack for part in parts for lack in part.lacking], setting, location),
            )
        )
    return results


def exit_code(results: Iterable[ClaimResult]) -> int:
    """Return 0 if all claims are supported, 1 if any is contradicted, otherwise 3."""
    codes = {Verdict.SUPPORTED: 0, Verdict.CONTRADICTED: 1, Verdict.UNDECIDED: 3}
    return codes[_overall(result.verdict for result in results)]


def _overall(verdicts: Iterable[Verdict]) -> Verdict:
    distinct = set(verdicts)
    if Verdict.CONTRADICTED in distinct:
        return Verdict.CONTRADICTED
    return Verdict.SUPPORTED if distinct == {Verdict.SUPPORTED} else Verdict.UNDECIDED


def _result(
    component: Component | Accelerated, gathered: Gathered, components: int, setting: Setting
) -> ComponentResult:
    """Test a component's numbers; keep only as many missing runs as the least number of seeds needs."""
    numbers = gathered.numbers
    tested = examine(list(numbers.values()), component.claimed, components, component.every)
    least = setting.least_seeds if isinstance(component, Component) else range(LEAST_SEEDS)
    untested = [seed for seed in least if seed not in numbers]
    wanted = untested[: max(0, LEAST_SEEDS - len(numbers))]
    lacking = tuple(lack for lack in gathered.lacking if lack.blocks or lack.seed in wanted)
    blocked = tested.verdict is Verdict.SUPPORTED and any(lack.blocks for lack in lacking)
    return ComponentResult(
        word=component.word,
        what=component.what,
        where=component.where,
        claimed=component.claimed,
        every=component.every,
        points=component.points,
        unit=component.unit,
        difference=component.is_difference,
        numbers=numbers,
        tested=tested,
        verdict=Verdict.UNDECIDED if blocked else tested.verdict,
        lacking=lacking,
        remark=gathered.remark,
    )


def commands(lacking: Sequence[Lacking], setting: Setting, location: str) -> tuple[str, ...]:
    """Return the commands that train the missing runs: one per network, data set and kind of layers."""
    to = f"--store {shlex.quote(location)}"
    groups: dict[tuple[bool, int | None, tuple[str, ...]], list[Lacking]] = {}
    for lack in lacking:
        if lack.settings is not None:
            place = tuple(f"{name}={lack.settings[name]}" for name in ("network", "dataset", "untied"))
            groups.setdefault((lack.cancelled, lack.epochs, place), []).append(lack)
    lines = []
    for (cancelled, epochs, place), group in groups.items():
        conditions = [] if setting is SHORT else list(place)  # `short` has one network and data set
        for name in ("rule", "loss"):
            conditions.append(
                f"{name}={','.join(dict.fromkeys(lack.settings[name] for lack in group if lack.settings))}"
            )
        conditions.append(f"seed={','.join(map(str, sorted({lack.seed for lack in group})))}")
        words = ["urfb grid", "retry" if cancelled else "run", "experiments.yaml", setting.experiment]
        words += [f"--where {shlex.quote(condition)}" for condition in conditions]
        words += [f"--epochs {epochs}"] if epochs else []
        lines.append(" ".join([*words, to]))
    draws = [lack.seed for lack in lacking if lack.settings is None]
    return (*lines, *([f"urfb theory run --draws {max(draws) + 1} {to}"] if draws else []))
