r"""The lines of a text file, numbered, and never longer than a limit.

Rules: bytes that are not text of the encoding become `\xff` in the line, so that only what they stand in is
rejected; an encoding that can't go on behind them ends the import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TextIO

from rules.errors import ConfigurationError
from rules.findings import Finding

Progress = Callable[[int], None]
"""Told how many bytes were read since the last call."""

LINE_MAX: Final = 1_000_000
"""Characters. A longer line is no row, and must not fill the memory."""
ENCODING_HINT: Final = "name the file's own under 'encoding' in the map"


def unreadable(path: Path, error: Exception) -> ConfigurationError:
    """A file that can't be opened, or is not of its format at all."""
    return ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error}")])


def read_lines(path: Path, encoding: str, progress: Progress) -> Iterator[tuple[int, str]]:
    """Number and text of each line; of one that is longer than LINE_MAX, LINE_MAX characters and one more.

    Raises ConfigurationError when the file can't be opened or is not text of the encoding.
    """
    number, read, told = 0, 0, 0
    try:
        file: TextIO = path.open(encoding=encoding, errors="backslashreplace")
    except (OSError, LookupError) as error:
        raise unreadable(path, error) from None
    with file:
        try:
            while text := file.readline(LINE_MAX + 1):
                number += 1
                read += len(text)
                if read >= 65_536:
                    read, now = 0, file.buffer.tell()
                    progress(now - told)
                    told = now
                rest = text
                while len(rest) > LINE_MAX and not rest.endswith("\n"):
                    rest = file.readline(LINE_MAX + 1)
                yield number, text.removesuffix("\n")
        except UnicodeError as error:
            # Few encodings can go on behind what they can't read.
            message = f"not text of the encoding {encoding}: {error}"
            raise ConfigurationError([Finding(str(path), number + 1, 0, message, ENCODING_HINT)]) from None
        progress(file.buffer.tell() - told)


def check_length(text: str) -> None:
    """Raises ValueError for a line that is too long to be one."""
    if len(text) > LINE_MAX:
        raise ValueError(f"longer than {LINE_MAX:,} characters")
