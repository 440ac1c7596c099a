"""`headrace import --guess`: a map from the head of a file, with what a person has to decide.

Rules: exit code 0 when nothing is open, 1 when the map asks something; an existing map is never overwritten.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding


def guess_map(sources: list[str], site: Path | None, output: Path | None, as_json: bool) -> int:
    """Write the map to `output`, or to stdout. Raises ConfigurationError when the file or the site can't be read."""
    from streams.importing.guessing import guess as guessing

    if len(sources) != 1 or "://" in sources[0]:
        message = "one file is looked at, to guess a map from its head"
        raise ConfigurationError([Finding("headrace import", 0, 0, message, "headrace import --guess FILE")])
    if output is not None and output.exists():
        raise ConfigurationError(
            [Finding(str(output), 0, 0, "exists: it is not overwritten", "give another name")]
        )
    found = guessing.guess_map(Path(sources[0]), site, Path() if output is None else output.parent)
    if output is not None:
        try:
            output.write_text(found.text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                [Finding(str(output), 0, 0, f"can't be written: {error.strerror}")]
            ) from None
    if as_json:
        questions = [{"line": line, "question": question} for line, question in found.questions]
        answer = {"map": str(output) if output else None, "format": found.format, "open": questions}
        sys.stdout.write(orjson.dumps({**answer, "text": found.text}).decode() + "\n")
    elif output is None:
        sys.stdout.write(found.text)
    if not as_json:
        name = output or "map"
        for line, question in found.questions:
            print(printable(f"{name}:{line}: {question}"), file=sys.stderr)
        print(f"{name}: format {found.format}, {len(found.questions)} open questions", file=sys.stderr)
    return 1 if found.questions else 0
