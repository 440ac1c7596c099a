"""A progress bar on stderr while records are read; nothing where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from streams.recording.recording import Recording


def records_named(recordings: Sequence[Recording], passes: int = 1) -> int | None:
    """How many records are to be read, by the indexes; None where one has none."""
    if not all(recording.named for recording in recordings):
        return None
    return passes * sum(one.records for recording in recordings for one in recording.named.values())


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar from 0 to `total` records; the function moves it on by so many."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
