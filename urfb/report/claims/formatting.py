"""The verdicts as a text for a terminal, and as JSON."""

from __future__ import annotations

import json
import math
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from urfb.report.claims.evaluating import ClaimResult, ComponentResult
from urfb.report.claims.statistics import ALPHA, LEAST_SEEDS, MOST_SEEDS, POWER, Verdict
from urfb.report.texts import number

WIDTH = 80


def as_text(results: Sequence[ClaimResult]) -> str:
    """Return the verdicts in words, 80 columns wide."""
    blocks = ["\n".join(_claim(result)) for result in results]
    counts = [f"{sum(result.verdict is verdict for result in results)} {verdict.value}" for verdict in Verdict]
    setting = results[0].setting
    claims = f"{len(results)} claim{'s' * (len(results) != 1)}"
    blocks.append(_filled(f"{claims} in the setting {setting.name}: {', '.join(counts)}"))
    return "\n\n".join(blocks)


def as_json(results: Sequence[ClaimResult]) -> str:
    """Return everything that the verdicts rest on; what is not a finite number is null."""
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
    if lines := list(missing(result)):
        runs = {lack.run for component in result.components for lack in component.lacking}
        yield f"\n  missing: {len(runs)} {'run' if len(runs) == 1 else 'runs'}"
        for line in lines:
            yield textwrap.fill(line, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    for command in result.commands:
        yield _shell(command, "    ")


def _component(component: ComponentResult, result: ClaimResult) -> Iterator[str]:
    yield _ends(f"  {component.word}: {component.where}", component.verdict.value)
    yield _filled(component.what, "    ")
    yield _filled("; ".join([*measured(component), f"claimed {claimed(component)}"]), "    ")
    if statistics := list(tested_by(component)):
        yield _filled("; ".join(statistics), "    ")
    if component.beside:
        yield _filled(component.beside, "    ")
    for line in undecided(component, result):
        yield _filled(line, "    ")


def measured(component: ComponentResult) -> Iterator[str]:
    """Yield the mean and its interval, in words; nothing where there is no number."""
    tested = component.tested
    if tested.n:
        interval = f", {_percent(1 - 2 * ALPHA)} interval {_interval(tested.low, tested.high, component)}"
        yield f"mean {_number(tested.mean, component)}{' points' * component.points}{interval if tested.n > 1 else ''}"


def tested_by(component: ComponentResult) -> Iterator[str]:
    """Yield how many numbers there are, and what the tests say of them; nothing where there is no number."""
    tested = component.tested
    if not tested.n:
        return
    yield f"n = {tested.n} {component.unit}{'s' * (tested.n != 1)}"
    if component.difference and math.isfinite(tested.effect):
        yield f"d_z {number(tested.effect, 2)}"
    if math.isfinite(tested.p_t):
        yield f"p {_p(tested.p)} (t {_p(tested.p_t)}, sign flips {_p(tested.p_sign_flip)})"
    elif math.isfinite(tested.p):
        yield f"p {_p(tested.p)} (sign flips; all are equal, so there is no t)"
    if component.every:
        yield f"{sum(value not in component.claimed for value in component.numbers.values())} outside"
    outside = tested.high < component.claimed.low or tested.low > component.claimed.high
    if outside and tested.strict_level > 1 - 2 * ALPHA:
        strict = _interval(tested.strict_low, tested.strict_high, component)
        yield f"{_percent(tested.strict_level)} interval, for one of several components, {strict}"


def undecided(component: ComponentResult, result: ClaimResult) -> Iterator[str]:
    """Say what would lead to a verdict: runs that are missing or of no use, or more seeds."""
    tested, units = component.tested, f"{component.unit}s"
    if tested.n < LEAST_SEEDS:
        yield f"{LEAST_SEEDS} {units} are needed; {tested.n or 'none'} can be used"
    elif component.verdict is not Verdict.UNDECIDED:
        return
    elif component.verdict is not tested.verdict:
        yield "cannot be supported while runs of it failed, or are no numbers; see below"
    else:
        how_many = f"about {tested.seeds_needed:,}" if tested.seeds_needed else f"no number up to {MOST_SEEDS:,}"
        yield (
            f"the tests decide nothing; if mean and spread stay as they are, {how_many} {units} would decide, with a "
            f"power of {_percent(POWER)}{_more(component, result)}"
        )


def _more(component: ComponentResult, result: ClaimResult) -> str:
    if not component.tested.seeds_needed:
        return ""
    if component.unit == "draw":
        return f" (`urfb theory run --draws {component.tested.seeds_needed}`)"
    if result.setting.seeds:
        return f", but the setting {result.setting.name} tests the seeds {_listed(result.setting.seeds)} alone"
    return f" (lengthen `seed` of the experiment {result.setting.experiment} in experiments.yaml)"


def missing(result: ClaimResult) -> Iterator[str]:
    """Yield what is missing, each run once whichever components need it."""
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
    """Return '0 to 4', or '0, 2, 3' where some between are left out."""
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _shell(command: str, indent: str) -> str:
    """Break a command into lines that a shell takes for one."""
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


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _ends(left: str, right: str) -> str:
    """Put a verdict at the right end of the line, or of the next one."""
    if len(left) + len(right) + 2 > WIDTH:
        return f"{left}\n{right:>{WIDTH}}"
    return f"{left}{right:>{WIDTH - len(left)}}"


def _number(value: float, component: ComponentResult | None = None) -> str:
    """Write a number; error rates are fractions and are told in percentage points."""
    if component and component.points:
        return number(100 * value, 2)
    return f"{value + 0.0:.4g}".replace("-", "−")  # + 0.0 takes the sign off −0.0


def _interval(low: float, high: float, component: ComponentResult) -> str:
    return f"{_number(low, component)} to {_number(high, component)}"


def claimed(component: ComponentResult) -> str:
    """Return the range that is claimed, in words."""
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
