"""The text of a map that is being guessed: its lines, its open questions, and what reads back as YAML.

Rule: whatever a file holds, what is written here is one line, and is the same text when it is read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from streams.importing.map_file import OPEN_QUESTION

_PLAIN = re.compile(r"[A-Za-z_.][A-Za-z0-9_./^-]*")
_WORDS: Final = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


@dataclass(slots=True)
class Guess:
    """The text of a map, and its open questions by line (from 1)."""

    format: str
    lines: list[str] = field(default_factory=list)
    questions: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: str) -> None:
        """One line of the map."""
        self.lines.append(line)

    def ask(self, question: str, indent: str = "") -> None:
        """A question to a person about the next line."""
        said = " ".join(question.split())
        self.lines.append(f"{indent}{OPEN_QUESTION} {said}")
        self.questions.append((len(self.lines), said))

    @property
    def text(self) -> str:
        """The map file."""
        return "\n".join(self.lines) + "\n"


def duration(seconds: float) -> str:
    """As a map has it: `30 s`, `15 min`."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e3:.3g} ms"


def scalar(text: str, always: bool = False) -> str:
    """A scalar that reads back as this text."""
    if not always and _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # JSON is YAML, but for the characters that YAML wants escaped
    return "".join(
        one if one.isprintable() else _escaped(one) for one in json.dumps(text, ensure_ascii=False)
    )


def _escaped(one: str) -> str:
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"


def shown(name: str) -> str:
    """A file's name for a comment of one line."""
    return "".join(one if one.isprintable() else "?" for one in name)
