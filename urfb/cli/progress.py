"""The progress of a grid: live bars on a terminal, lines with timestamps elsewhere."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from urfb.cli.listing import counted_runs, printable, shared_in_words
from urfb.cli.terminal import console, go_on_without_output, wrapped
from urfb.data.catalog import dataset_info, is_chance
from urfb.engines import Slot
from urfb.errors import counted
from urfb.events import EpochEnded, Event, Failed, Finished, Lost, Started, Stopped
from urfb.grid.naming import ALONE, in_words, named, settings_of
from urfb.grid.plan import STATES, PlannedRun
from urfb.grid.spec import RunSpec

WIDE = 100
"""Bars are longer on a terminal of at least this many columns."""
PLAIN_SECONDS = 30.0
"""The time between two lines about a run, where there is no terminal."""
FEW_RUNS = 20
"""On a terminal, a grid with more runs keeps only the lines that need attention, and shows the `LATEST` others."""
LATEST = 3
ALIKE = 3
"""The most lines about failures with the same reason that a grid with many runs keeps."""
TREND = 8
"""The number of latest epochs whose validation errors are drawn."""


@contextmanager
def watching(notice: Callable[[], str] = str) -> Iterator[GridProgress]:
    """Show a grid's progress while the context is open. If standard output fails, the runs continue.

    Args:
        notice: returns a line to print below the plan, or an empty text.
    """
    go_on_without_output()
    progress = GridProgress(console(), notice)
    try:
        yield progress
    finally:
        progress.stop()


class _Line(ProgressColumn):
    """A count, a description and a note. A narrow terminal has the note in a second line. Longer text is cut."""

    def __init__(self, width: int) -> None:
        super().__init__(Column())
        self._width = width

    def render(self, task: Task) -> Text:
        count = f"{task.completed:.0f}/{task.total or 0:.0f}"
        lines = [f"{count} {task.description}{task.fields['note']}"]
        if cell_len(lines[0]) > self._width:
            lines = [f"{count} {task.description}", task.fields["note"].strip()]
        texts = [Text(line, no_wrap=True) for line in lines if line]
        for text in texts:
            text.truncate(self._width, overflow="ellipsis")
        return Text("\n").join(texts)


class _Bars(Progress):
    """Bars, and above them the latest of the lines that are not kept."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        self.latest: deque[Text] = deque(maxlen=LATEST)  # before super().__init__, which reads it
        super().__init__(*columns, console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from tuple(self.latest)  # a copy, because another thread may append
        yield from super().get_renderables()


def trend(errors: Sequence[float]) -> str:
    """Return errors as a row of bars such as '█▅▃▁', scaled from the lowest to the highest error."""
    lowest, highest = min(errors), max(errors)
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (error - lowest) / (highest - lowest or 1.0))] for error in errors)


class GridProgress:
    """The number of runs done, each run's epoch, error and trend, and the time left."""

    def __init__(self, console: Console, notice: Callable[[], str] = str) -> None:
        self.console = console
        self._notice = notice
        bar_width = 12 if console.width < WIDE else 24
        self.bars = _Bars(
            BarColumn(bar_width, table_column=Column(no_wrap=True)),
            # Room for the ^C that a terminal prints after the last line; without it, the line would wrap.
            _Line(max(console.width - bar_width - len(" ^C "), 1)),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._measuring: TaskID | None = None
        self._last_measuring = time.monotonic()
        self._total: TaskID | None = None
        self._last_shown: dict[str, float] = {}
        self._ended = self._failed = 0
        self._count = 0
        self._epochs = self._epochs_total = 0
        self._began = time.monotonic()
        self._waiting = self._stopping = False
        self._stored: dict[str, int] = {}
        self._unfinished: set[str] = set()
        self._names: dict[str, str] = {}
        self._errors: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=TREND))
        self._reasons: Counter[str] = Counter()

    def measuring(self, done: int, total: int) -> None:
        """Show the number of finished memory checks. There is one for each kind of run."""
        if self.console.is_terminal:
            if self._measuring is None:
                self._measuring = self.bars.add_task("memory checks", total=total, note="")
                self.bars.start()
            self.bars.update(self._measuring, completed=done, visible=done < total)
        elif done < total and time.monotonic() - self._last_measuring > PLAIN_SECONDS:
            self._last_measuring = time.monotonic()
            self._print(f"{done} of {total} memory checks done")

    def planned(self, planned: Sequence[PlannedRun], slots: Sequence[Slot]) -> None:
        """Print the number of runs in each state, and where the missing ones are trained."""
        if not planned:
            self._print("no runs match these conditions")
            return
        counts = Counter(planned_run.state for planned_run in planned)
        states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        missing = [planned_run for planned_run in planned if planned_run.missing]
        self._count = len(missing)
        if not missing:
            self._print(f"{counted_runs(len(planned))}: {states}; nothing to do")
            self._print_notice()
            return
        devices = Counter(slot.device for slot in slots)
        where = ", ".join(f"{number} at a time on {device}" for device, number in devices.items())
        threads = counted(slots[0].threads, "CPU thread")
        self._print(f"{counted_runs(len(planned))}: {states}; {where}, {threads} each")
        if changed := [planned_run.reason for planned_run in missing if planned_run.changed]:
            reasons = "; ".join(changed[:ALIKE]) + "; …" * (len(changed) > ALIKE)
            self._print(f"new although trained before: {counted_runs(len(changed))}: {reasons}")
        self._print_notice()
        specs = [planned_run.run.spec for planned_run in planned]
        self._names = named(specs)
        if common := shared_in_words([settings_of(spec) for spec in specs]):
            self._print(printable(common))
        self._epochs_total = sum(
            max(planned_run.run.spec.epochs - planned_run.goes_on_after, 0) for planned_run in missing
        )
        self._stored = {planned_run.run.spec.identity: planned_run.epochs_done for planned_run in missing}
        self._unfinished = {
            planned_run.run.spec.identity for planned_run in missing if planned_run.state == "unfinished"
        }
        self._began = time.monotonic()
        if self.console.is_terminal:
            self._total = self.bars.add_task("runs", total=len(missing), note="")
            self.bars.start()

    def recorded(self, spec: RunSpec, event: Event) -> None:
        """Show an event of a run."""
        self._waiting = False
        name = self._name(spec)
        match event:
            case Started(epochs_done, steps_done=steps_done):
                self._show_start(spec, name, epochs_done, steps_done)
            case EpochEnded():
                self._epochs += 1
                validation, running = f"{event.validation_error:.1%}", f"{event.running_error:.1%}"
                if self.console.is_terminal:
                    errors = f"validation {validation}"
                    errors += f", running {running}" if self.console.width >= WIDE else ""
                    self._errors[spec.identity].append(event.validation_error)
                    if self.console.encoding.startswith("utf"):
                        errors += f" {trend(self._errors[spec.identity])}"
                    self.bars.update(self._tasks[spec.identity], completed=event.epoch, description=errors)
                elif time.monotonic() - self._last_shown[spec.identity] > PLAIN_SECONDS:
                    self._last_shown[spec.identity] = time.monotonic()
                    errors = f"validation error {validation}, running {running}"
                    self._line(f"{name}: epoch {event.epoch}/{spec.epochs}, {errors}{self._time_left()}")
            case Finished():
                self._end(spec)
                text = f"{name}: done after {counted(event.epoch, 'epoch')}, test error {event.test_error:.1%}"
                if is_chance(event.test_error, dataset_info(spec.dataset)):
                    self._line(f"{text}, no better than chance; check the step size", style="yellow")
                else:
                    self._passing(text)
            case Stopped():
                self._forget(spec)
                self._line(f"{name}: stopped; checkpoint saved")
            case Lost(reason):
                self._forget(spec)
                self._line(f"{name}: {reason}; continues from its last checkpoint", style="yellow")
            case Failed():
                self._failed += 1
                self._reasons[event.reason] += 1
                self._end(spec)
                text = f"{name}: FAILED: {event.reason}; see `urfb grid logs {spec.identity}`"
                if self._reasons[event.reason] <= ALIKE:
                    self._line(text, style="red")
                else:
                    self._passing(text, style="red")
        if self._failed and self._ended == self._count:
            self._print(f"{self._failed} of {counted_runs(self._count)} failed; `urfb grid status` lists them")
        if self._total is not None:
            failed = f", {self._failed} failed" if self._failed else ""
            self.bars.update(self._total, completed=self._ended, note=failed + self._time_left())

    def _show_start(self, spec: RunSpec, name: str, epochs_done: int, steps_done: int) -> None:
        if self.console.is_terminal:
            self._tasks[spec.identity] = self.bars.add_task(
                "epochs", total=spec.epochs, completed=epochs_done, note=f"  {printable(name)}"
            )
        self._last_shown[spec.identity] = time.monotonic()
        stored = self._stored.get(spec.identity, 0)
        if epochs_done < stored:
            self._line(f"{name}: no checkpoint of epoch {stored}; trains from epoch {epochs_done + 1}")
        elif steps_done:
            self._passing(f"{name}: continues in epoch {epochs_done + 1}, after {counted(steps_done, 'step')}")
        elif epochs_done:
            self._passing(f"{name}: continues after epoch {epochs_done}")
        elif spec.identity in self._unfinished:
            self._line(f"{name}: no checkpoint was found; trains from epoch 1")

    def dropped(self, spec: RunSpec) -> None:
        """Print that this runner skips the run."""
        self._forget(spec)
        self._line(f"{self._name(spec)}: skipped, because it was cancelled or removed, or another runner has it")

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Print, once, that other runners train the remaining runs."""
        if not self._waiting:
            self._waiting = True
            self._line(f"waiting for {counted_runs(len(specs))} that another runner trains")

    def stopping(self) -> None:
        """Print that the runs are stopping."""
        self._stopping = True
        self._line("stopping: every run saves a checkpoint; press Ctrl-C again to stop at once")

    def interrupted(self, *, at_once: bool) -> None:
        """Print where interrupted runs will continue."""
        self.stop()
        where = " from the last checkpoints" if at_once else ""
        self._print(f"interrupted; the same command continues{where}")

    def stop(self) -> None:
        """Remove all bars from the screen, except the total if all runs have ended."""
        self.bars.latest.clear()
        for task in self.bars.task_ids:
            if task != self._total or self._ended < self._count:
                self.bars.remove_task(task)
        if self.bars.live.is_started:
            self.bars.stop()

    def _print_notice(self) -> None:
        if notice := self._notice():
            self._print(printable(notice))

    def _end(self, spec: RunSpec) -> None:
        self._ended += 1
        self._forget(spec)

    def _name(self, spec: RunSpec) -> str:
        """Return the settings in which a run differs from the others of the grid."""
        return self._names.get(spec.identity) or in_words(settings_of(spec), ALONE)

    def _forget(self, spec: RunSpec) -> None:
        if spec.identity in self._tasks:
            self.bars.remove_task(self._tasks.pop(spec.identity))

    def _time_left(self) -> str:
        """Return the time left, estimated from the epochs so far; when all runs have ended, the time that they took."""
        elapsed = time.monotonic() - self._began
        if self._ended == self._count:
            return f", in {timedelta(seconds=round(elapsed))}"
        if not self._epochs or self._stopping:
            return ""
        seconds = elapsed / self._epochs * max(self._epochs_total - self._epochs, 0)
        return f", {timedelta(seconds=round(seconds))} left"

    def _passing(self, text: str, style: str = "") -> None:
        """Print a line that a terminal does not keep if there are many runs."""
        if self.console.is_terminal and self._count > FEW_RUNS:
            line = wrapped(f"[{self._ended}/{self._count}] {printable(text)}", self.console.width)
            self.bars.latest.append(Text(line, style))
        else:
            self._line(text, style)

    def _line(self, text: str, style: str = "") -> None:
        self._print(f"[{self._ended}/{self._count}] {printable(text)}", style)

    def _print(self, text: str, style: str = "") -> None:
        if self.console.is_terminal:
            text = wrapped(text, self.console.width)
        else:  # a log has one line per message, with its time
            text = f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}"
        self.console.print(text, style=style or None, markup=False, soft_wrap=True)
