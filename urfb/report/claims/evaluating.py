"""From a store's frames to verdicts, and to the commands that train what is missing."""

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
    """What the runs say of one component. The attributes' names are those of claims.json.

    Attributes:
        word, what, where: the paper's word; the number that is tested, and on which runs.
        claimed: the range in which the claim says that the number's mean lies.
        every: whether it is claimed of each seed, and not only of their mean.
        points: whether the number is an error rate; here it is a fraction all the same.
        unit: what one number is of: 'seed' or 'draw'.
        difference: whether runs are compared with others, so that the effect size d_z means something.
        numbers: by seed, those that count.
        tested: what the tests say of them.
        verdict: the tests', unless a run that is no use stands in the way of *supported*.
        lacking: the runs that are missing or no use.
        beside: a remark, which is not tested; may be empty.
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
    beside: str


@dataclass(frozen=True)
class ClaimResult:
    """A claim, what it consists of, and the verdict on it in one setting.

    Attributes:
        name, source, sentence: of the claim, as the paper has it.
        setting: in which it was tested.
        title: on what, in words.
        verdict: supported if every component is, contradicted if any is.
        components: one result each.
        commands: they train what is missing.
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
        names: of the claims; all that have a form in the setting if empty.
        setting: one of `SETTINGS`; runs of two are never mixed.
        location: how the user named the store, for the commands that are given.

    Raises:
        SelectionError: a claim does not exist, or has no form in the setting.
    """
    available = [name for name, claim in CLAIMS.items() if claim.components(setting)]
    for name in names:
        if name not in CLAIMS:
            raise SelectionError(f"there is no claim '{name}': {nearest(name, CLAIMS)}")
        if name not in available:
            allowed = " and ".join(tested.name for tested in CLAIMS[name].settings)
            raise SelectionError(
                f"claim {name} has no form in the setting {setting.name}, only in {allowed}; "
                f"in {setting.name} there are {', '.join(available)}"
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
    """Return 0 if all claims are supported, 1 if any is contradicted, else 3."""
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
    """Test a component's numbers; of what is missing, keep what would make up the least number of seeds."""
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
        beside=gathered.remark,
    )


def commands(lacking: Sequence[Lacking], setting: Setting, location: str) -> tuple[str, ...]:
    """Return the commands that train what is lacking: one for each network, data set and kind of layers."""
    to = f"--store {shlex.quote(location)}"
    groups: dict[tuple[bool, int | None, tuple[str, ...]], list[Lacking]] = {}
    for lack in lacking:
        if lack.settings is not None:
            place = tuple(f"{name}={lack.settings[name]}" for name in ("network", "dataset", "untied"))
            groups.setdefault((lack.cancelled, lack.epochs, place), []).append(lack)
    lines = []
    for (cancelled, epochs, place), group in groups.items():
        conditions = [] if setting is SHORT else list(place)  # which has a single place
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
