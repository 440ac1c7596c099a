"""What a server says in words, on its way to a log, a status, a receipt or a terminal.

asyncua reads a text as its bytes are, and as long as it is: what is no UTF-8 can't be written down again.
"""

from __future__ import annotations

from typing import Final

from gateways.printable import shortened

TEXT_LENGTH: Final = 80
REASON_LENGTH: Final = 200


def clean(said: object, longest: int = TEXT_LENGTH) -> str:
    """In one line, cut at `longest` characters; what is no text, or can't be seen, is written as Python does."""
    return shortened(str(said), longest)


def explain(error: BaseException) -> str:
    """What an error says, its name where it says nothing."""
    return clean(str(error) or type(error).__name__, REASON_LENGTH)
