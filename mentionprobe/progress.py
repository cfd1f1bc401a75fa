"""Progress of long work: a bar on a terminal, a line every half minute elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[int], None]

SECONDS_BETWEEN_LINES = 30.0

_console = Console(stderr=True)


class _Rate(ProgressColumn):
    """Units done, and units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        return Text(f"{int(task.completed):,} {self._unit}, {speed:,.0f}/s")


class _Lines:
    """For logs: a line every half minute, and one at the end."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._started = self._shown = time.perf_counter()

    def advance(self, units: int) -> None:
        self._done += units
        if time.perf_counter() - self._shown >= SECONDS_BETWEEN_LINES:
            self.show()

    def show(self) -> None:
        self._shown = time.perf_counter()
        seconds = max(self._shown - self._started, 1e-9)
        of_all = "" if self._done >= self._total else f" of {self._total:,}"
        _console.print(
            f"{self._label}: {self._done:,}{of_all} {self._unit} in {seconds:.0f} s "
            f"({self._done / seconds:,.0f}/s)",
            highlight=False,
            soft_wrap=True,
        )


@contextlib.contextmanager
def progress(label: str, *, total: int, unit: str) -> Iterator[Advance]:
    """Show `label` with a bar, counts and speed; yields a function to call with the units done."""
    if not _console.is_terminal:
        lines = _Lines(label, total, unit)
        yield lines.advance
        lines.show()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, console=_console) as bar:
        task = bar.add_task(label, total=total)
        yield lambda units: bar.advance(task, units)
