"""The verdicts as text for a terminal and as JSON."""

from __future__ import annotations

import json
import math
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from urfb.errors import counted
from urfb.report.claims.evaluating import ClaimResult, ComponentResult
from urfb.report.claims.findings import Finding
from urfb.report.claims.measures import SETTINGS, Setting
from urfb.report.claims.statistics import ALPHA, LEAST_SEEDS, MOST_SEEDS, POWER, Verdict
from urfb.report.claims.table import CLAIMS
from urfb.report.texts import number

WIDTH = 80


def as_text(results: Sequence[ClaimResult]) -> str:
    """Return the results of one setting as text, 80 columns wide, with the counts of the verdicts at the end."""
    blocks = ["\n".join(_claim(result)) for result in results]
    names = {verdict: [result.name for result in results if result.verdict is verdict] for verdict in Verdict}
    setting = results[0].setting
    blocks.append("\n".join([*_counted(f"in the setting {setting.name}", names), *_shorter(names, setting)]))
    return "\n\n".join(blocks)


def _shorter(names: Mapping[Verdict, Sequence[str]], setting: Setting) -> Iterator[str]:
    """Yield a line for each setting with shorter runs that also tests undecided claims."""
    for shorter in list(SETTINGS.values())[list(SETTINGS).index(setting.name) + 1 :]:
        if tested := [name for name in names[Verdict.UNDECIDED] if shorter in CLAIMS[name].settings]:
            yield _filled(
                f"--setting {shorter.name} tests shorter runs of claim{'s' * (len(tested) > 1)} {', '.join(tested)}",
                "  ",
                "    ",
            )


def as_summary(found: Sequence[Finding]) -> str:
    """Return the verdicts over all settings as text, 80 columns wide; each claim counts once."""
    names = {
        verdict: [
            finding.name + f" ({finding.deciding.setting.name})" * (verdict is not Verdict.UNDECIDED)
            for finding in found
            if finding.verdict is verdict
        ]
        for verdict in Verdict
    }
    lines = _counted("of the paper", names)
    rule = "The longest setting that decides a claim gives its verdict and is named after it."
    return "\n".join([*lines, _filled(rule, "  ")])


def _counted(of: str, names: Mapping[Verdict, Sequence[str]]) -> Iterator[str]:
    """Yield a line with the number of claims per verdict, and a line with the claims for each verdict."""
    total = sum(map(len, names.values()))
    counts = ", ".join(f"{len(listed)} {verdict.value}" for verdict, listed in names.items())
    yield _filled(f"{counted(total, 'claim')} {of}: {counts}")
    for verdict, listed in names.items():
        if listed:
            yield _filled(f"{verdict.value}: {', '.join(listed)}", "  ", "    ")


def evidence(result: ClaimResult) -> list[str]:
    """Return a line for each component with an interval: mean, 90 % interval, claimed range and number of seeds."""
    places = [", ".join(component.where.split(", ")[-2:]) for component in result.components]  # without a protocol
    return [
        f"{place}: " * (len(set(places)) > 1) + _measured(component)
        for place, component in zip(places, result.components, strict=True)
        if component.tested.n > 1
    ]


def _measured(component: ComponentResult) -> str:
    tested, points = component.tested, component.points
    mean, low, high = (
        number(100 * value, 1) if points else number(value, 3) for value in (tested.mean, tested.low, tested.high)
    )
    return (
        f"{component.what}: {mean} ({low} to {high}){' points' * points}, claimed {claimed(component)}, "
        f"{tested.n} {component.unit}s"
    )


def as_json(results: Sequence[ClaimResult]) -> str:
    """Return the results with all their numbers; a number that is not finite becomes null."""
    return json.dumps([_finite(_tree(result)) for result in results], indent=2, ensure_ascii=False)


def _tree(result: ClaimResult) -> dict[str, Any]:
    components = [asdict(component) for component in result.components]
    setting = {"name": result.setting.name, "title": result.title, "experiment": result.setting.experiment}
    return {
        "claim": result.name,
        "source": result.source,
        "sentence": result.sentence,
        "setting": setting,
        "verdict": result.verdict,
        "alpha": ALPHA,
        "least_seeds": LEAST_SEEDS,
        "components": components,
        "commands": list(result.commands),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _claim(result: ClaimResult) -> Iterator[str]:
    yield _ends(f"Claim {result.name} ({result.source})", result.verdict.value.upper())
    yield f"  setting {result.setting.name}: {result.title}"
    yield _filled(f"“{result.sentence}”", "  ")
    for component in result.components:
        yield ""
        yield from _component(component, result)
    if count := missing_runs(result):
        yield f"\n  missing: {counted(count, 'run')}"
        for line in missing(result):
            yield textwrap.fill(line, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    if result.commands:
        yield "\n  train them with:"
    for command in result.commands:
        yield _shell(command, "    ")


def _component(component: ComponentResult, result: ClaimResult) -> Iterator[str]:
    yield _ends(f"  {component.word}: {component.where}", component.verdict.value)
    range_claimed = f"claimed: {claimed(component)}"
    if not component.tested.n:
        yield _filled("; ".join([component.what, range_claimed, *undecided(component, result)]), "    ")
        return
    yield _filled(component.what, "    ")
    yield _filled("; ".join([*measured(component), range_claimed]), "    ")
    if statistics := list(tested_by(component)):
        yield _filled("; ".join(statistics), "    ")
    if component.remark:
        yield _filled(component.remark, "    ")
    for line in undecided(component, result):
        yield _filled(line, "    ")


def measured(component: ComponentResult) -> Iterator[str]:
    """Yield the mean with its interval; nothing if there are no numbers."""
    tested = component.tested
    if tested.n:
        interval = f", {_percent(1 - 2 * ALPHA)} interval {_interval(tested.low, tested.high, component)}"
        yield f"mean {_number(tested.mean, component)}{' points' * component.points}{interval if tested.n > 1 else ''}"


def tested_by(component: ComponentResult) -> Iterator[str]:
    """Yield the number of seeds and the test results; nothing if there are no numbers."""
    tested = component.tested
    if not tested.n:
        return
    yield f"n = {counted(tested.n, component.unit)}"
    if component.difference and math.isfinite(tested.effect):
        yield f"d_z {number(tested.effect, 2)}"
    if math.isfinite(tested.p_t):
        yield f"p {_p(tested.p)} (t {_p(tested.p_t)}, sign flips {_p(tested.p_sign_flip)})"
    elif math.isfinite(tested.p):
        yield f"p {_p(tested.p)} (sign flips; no t test, because all values are equal)"
    if component.every:
        yield f"{sum(value not in component.claimed for value in component.numbers.values())} outside the range"
    outside = tested.high < component.claimed.low or tested.low > component.claimed.high
    if outside and tested.strict_level > 1 - 2 * ALPHA:
        strict = _interval(tested.strict_low, tested.strict_high, component)
        yield f"{_percent(tested.strict_level)} interval, corrected for several components: {strict}"


def undecided(component: ComponentResult, result: ClaimResult) -> Iterator[str]:
    """Yield what would lead to a verdict: more runs, usable runs, or more seeds."""
    tested, units = component.tested, f"{component.unit}s"
    if tested.n < LEAST_SEEDS:
        yield f"has {tested.n} of {LEAST_SEEDS} {units}"
    elif component.verdict is not Verdict.UNDECIDED:
        return
    elif component.verdict is not tested.verdict:
        yield "the tests support it, but the missing runs below failed or have no finite value"
    else:
        how_many = (
            f"about {tested.seeds_needed:,} {units}"
            if tested.seeds_needed
            else f"no number of {units} up to {MOST_SEEDS:,}"
        )
        yield (
            f"undecided; at this mean and spread, {how_many} would decide with a power of {_percent(POWER)}"
            f"{_more(component, result)}"
        )


def _more(component: ComponentResult, result: ClaimResult) -> str:
    if not component.tested.seeds_needed:
        return ""
    if component.unit == "draw":
        return f" (`urfb theory run --draws {component.tested.seeds_needed}`)"
    if result.setting.seeds:
        return f", but the setting {result.setting.name} tests only the seeds {_listed(result.setting.seeds)}"
    return f" (add seeds to the experiment {result.setting.experiment} in experiments.yaml)"


def missing_runs(result: ClaimResult) -> int:
    """Return the number of missing and unusable runs."""
    return len({lack.run for component in result.components for lack in component.lacking})


def missing(result: ClaimResult) -> Iterator[str]:
    """Yield the missing runs in groups, each run once."""
    lacking = {lack.run: lack for component in result.components for lack in component.lacking}
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for lack in lacking.values():
        seeds.setdefault((lack.reason, lack.where, lack.what), []).append(lack.seed)
    groups: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for (reason, where, what), listed in seeds.items():
        groups.setdefault((reason, where, tuple(sorted(listed))), []).append(what)
    unit = result.components[0].unit
    for (reason, where, numbers_of_seeds), protocols in groups.items():
        numbers = f"{unit}{'s' * (len(numbers_of_seeds) > 1)} {_listed(numbers_of_seeds)}"
        yield f"{where}; {', '.join(protocols)}; {numbers}: {reason}"


def _listed(seeds: Sequence[int]) -> str:
    """Return '0 to 4', or '0, 2, 3' if the seeds have gaps."""
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _shell(command: str, indent: str) -> str:
    """Break a command into lines that a shell reads as one command."""
    words = [shlex.quote(word) for word in shlex.split(command)]
    lines, line = [], indent + words[0]
    for index, word in enumerate(words[1:], start=1):
        # An option stays with its value.
        width = len(word) + (len(words[index + 1]) + 1 if word.startswith("--") and index + 1 < len(words) else 0)
        if len(line) + 1 + width > WIDTH - 2 and not words[index - 1].startswith("--"):
            lines.append(line)
            line = indent + "  " + word
        else:
            line += f" {word}"
    return " \\\n".join([*lines, line])


def _filled(text: str, indent: str = "", further: str | None = None) -> str:
    further = indent if further is None else further
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=further, break_on_hyphens=False)


def _ends(left: str, right: str) -> str:
    """Put a verdict at the right end of the line, or of the next line if it does not fit."""
    if len(left) + len(right) + 2 > WIDTH:
        return f"{left}\n{right:>{WIDTH}}"
    return f"{left}{right:>{WIDTH - len(left)}}"


def _number(value: float, component: ComponentResult | None = None) -> str:
    """Return a number as text; an error rate is a fraction and is shown in percentage points."""
    if component and component.points:
        return number(100 * value, 2)
    return f"{value + 0.0:.4g}".replace("-", "−")  # + 0.0 removes the sign of −0.0


def _interval(low: float, high: float, component: ComponentResult) -> str:
    return f"{_number(low, component)} to {_number(high, component)}"


def claimed(component: ComponentResult) -> str:
    """Return the claimed range as text."""
    within = component.claimed
    low, high = (_number(100 * end if component.points else end) for end in (within.low, within.high))
    words = f"{low} to {high}"
    if math.isinf(within.high):
        words = f"above {low}"
    elif math.isinf(within.low):
        words = f"below {high}"
    return f"{words}{' points' * component.points}{f', in every {component.unit}' * component.every}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def _p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
