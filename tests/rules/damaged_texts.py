"""A good file with slips in it, as a person makes them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, good: Sequence[str], values: st.SearchStrategy[str], letters: str) -> str:
    """The good lines with up to four of them dropped, repeated, moved, indented or given another value or letter."""
    lines = list(good)
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "repeat", "move", "indent", "value", "character"])):
            case "drop" if len(lines) > 1:
                del lines[row]
            case "repeat":
                lines.insert(row, lines[row])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(row))
            case "indent":
                lines[row] = "  " + lines[row]
            case "value":
                lines[row] = lines[row].split(":")[0] + ": " + draw(values)
            case _:
                place = draw(st.integers(0, max(0, len(lines[row]) - 1)))
                lines[row] = lines[row][:place] + draw(st.sampled_from(letters)) + lines[row][place + 1 :]
    return "\n".join(lines) + "\n"
