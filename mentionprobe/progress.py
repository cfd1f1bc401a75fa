"""Progress of long work: a bar on a terminal, one line at the end elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[int], None]

_console = Console(stderr=True)


class _Rate(ProgressColumn):
    """Units done, and units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        return Text(f"{int(task.completed):,} {self._unit}, {speed:,.0f}/s")


@contextlib.contextmanager
def progress(label: str, *, total: int, unit: str) -> Iterator[Advance]:
    """Show `label` with a bar, counts and speed; yields a function to call with the units done."""
    if not _console.is_terminal:
        started = time.perf_counter()
        done = 0

        def count(units: int) -> None:
            nonlocal done
            done += units

        yield count
        seconds = max(time.perf_counter() - started, 1e-9)
        _console.print(
            f"{label}: {done:,} {unit} in {seconds:.0f} s ({done / seconds:,.0f}/s)",
            highlight=False,
            soft_wrap=True,
        )
        return
    columns = (TextColumn("{task.description}"), BarColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, console=_console) as bar:
        task = bar.add_task(label, total=total)
        yield lambda units: bar.advance(task, units)
