"""The verdicts as a text for a terminal, and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from urfb.errors import InputError
from urfb.report.claims.evaluating import ClaimResult, ComponentResult
from urfb.report.claims.statistics import ALPHA, LEAST_SEEDS, MOST_SEEDS, POWER, Range, Verdict

WIDTH = 80


def as_text(results: Sequence[ClaimResult]) -> str:
    """Return the verdicts in words, 80 columns wide; only commands, which are for copying, are longer."""
    blocks = ["\n".join(_claim(result)) for result in results]
    counts = [f"{sum(result.verdict is verdict for result in results)} {verdict.value}" for verdict in Verdict]
    setting = results[0].setting
    blocks.append(_filled(f"{len(results)} claims in the setting {setting.name}: {', '.join(counts)}"))
    return "\n\n".join(blocks)


def as_json(results: Sequence[ClaimResult]) -> str:
    """Return everything that the verdicts rest on; what is not a finite number is null."""
    return json.dumps([_finite(_tree(result)) for result in results], indent=2, ensure_ascii=False)


def write(path: Path, text: str) -> None:
    """Write a text to a file, whose folder is made if it does not exist.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; name another file with --out") from error


def _tree(result: ClaimResult) -> dict[str, Any]:
    components = [asdict(component) for component in result.components]
    setting = {"name": result.setting.name, "title": result.setting.title, "experiment": result.setting.experiment}
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
    yield f"  setting {result.setting.name}: {result.setting.title}"
    yield _filled(f"“{result.sentence}”", "  ")
    for component in result.components:
        yield ""
        yield from _component(component, result)
    if result.commands:
        yield ""
        yield "  train what is missing with"
        yield from (f"    {command}" for command in result.commands)


def _component(component: ComponentResult, result: ClaimResult) -> Iterator[str]:
    tested = component.tested
    yield _ends(f"  {component.word}: {component.where}", component.verdict.value)
    yield _filled(component.what, "    ")
    claimed = f"claimed {_range(component.claimed, component.points)}{', in every seed' * component.every}"
    if tested.n:
        mean, low, high = (_number(value, component.points) for value in (tested.mean, tested.low, tested.high))
        measured = f"mean {mean}{_unit(component)}"
        if tested.n > 1:
            measured += f", {1 - 2 * ALPHA:.0%} interval {low} to {high}".replace("%", " %")
        yield _filled(f"{measured}; {claimed}", "    ")
        yield _filled("; ".join(_statistics(component)), "    ")
    else:
        yield _filled(f"nothing to test yet; {claimed}", "    ")
    if component.beside:
        yield _filled(component.beside, "    ")
    yield from _undecided(component, result)


def _statistics(component: ComponentResult) -> Iterator[str]:
    tested = component.tested
    yield f"n = {tested.n} seed{'s' * (tested.n != 1)}"
    if component.difference and math.isfinite(tested.effect):
        yield f"d_z {tested.effect:.2f}"
    if math.isfinite(tested.p_t):
        yield f"p {_p(tested.p)} (t {_p(tested.p_t)}, sign flips {_p(tested.p_sign_flip)})"
    elif math.isfinite(tested.p):
        yield f"p {_p(tested.p)} (sign flips; all are equal, so there is no t)"
    if component.every and tested.n:
        outside = sum(number not in component.claimed for number in component.numbers.values())
        yield f"{outside} of them outside"


def _undecided(component: ComponentResult, result: ClaimResult) -> Iterator[str]:
    """Say what would lead to a verdict: runs that are missing, or more seeds."""
    tested = component.tested
    if component.lacking:
        if tested.n < LEAST_SEEDS:
            yield _filled(f"{LEAST_SEEDS} seeds are needed, {tested.n} have all of their runs; missing:", "    ")
        else:
            yield _filled("cannot be supported while these are no use:", "    ")
        by_reason: dict[tuple[str, str], list[int]] = {}
        for lack in component.lacking:
            by_reason.setdefault((lack.what, lack.reason), []).append(lack.seed)
        for (what, reason), seeds in by_reason.items():
            listed = f"{what}, {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, sorted(seeds)))}: {reason}"
            yield textwrap.fill(listed, WIDTH, initial_indent="    - ", subsequent_indent="      ")
    elif component.verdict is Verdict.UNDECIDED and tested.n >= LEAST_SEEDS:
        how_many = f"about {tested.seeds_needed:,}" if tested.seeds_needed else f"no number up to {MOST_SEEDS:,}"
        yield _filled(
            f"the tests decide nothing; if mean and spread stay as they are, {how_many} seeds would, with a power of "
            f"{POWER * 100:.0f} % (`seed` of {result.setting.experiment} in experiments.yaml)",
            "    ",
        )


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _ends(left: str, right: str) -> str:
    """Put a verdict at the right end of the line, or of the next one."""
    if len(left) + len(right) + 2 > WIDTH:
        return f"{left}\n{right:>{WIDTH}}"
    return f"{left}{right:>{WIDTH - len(left)}}"


def _unit(component: ComponentResult) -> str:
    return " points" if component.points else ""


def _number(value: float, points: bool) -> str:
    """Write a number; error rates are fractions and told in percentage points."""
    return f"{100 * value:.2f}".replace("-", "−") if points else f"{value:.4g}".replace("-", "−")


def _range(claimed: Range, points: bool) -> str:
    low, high = (f"{100 * end if points else end:g}".replace("-", "−") for end in (claimed.low, claimed.high))
    unit = " points" if points else ""
    if math.isinf(claimed.high):
        return f"above {low}{unit}"
    return f"below {high}{unit}" if math.isinf(claimed.low) else f"{low} to {high}{unit}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
