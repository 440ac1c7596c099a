"""How kernels are compiled. Numba's cache: a folder that can't be written costs a compile and a word, never a start."""

from __future__ import annotations

import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from rules.engine.kernel import compiling, faces
from rules.engine.kernel.compiling import compiled, face, source_stamp


def test_without_a_place_for_the_cache_it_compiles_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def njit(*args: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'twice': no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", njit)

    def twice(x: int) -> int:
        return 2 * x

    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR to a folder that can be written"):
        made = face(numba.int64(numba.int64))(twice)
    assert made(21) == 42


def test_the_kernel_is_cached_here() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert faces.frame.stats.cache_path


def test_what_was_compiled_is_used_until_any_file_of_the_kernel_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(x: int) -> int:
        return 2 * x

    def loaded(stamp: str) -> bool:
        monkeypatch.setattr(compiling, "kernel_stamp", lambda: stamp)
        made = face(numba.int64(numba.int64))(twice)
        assert made(21) == 42
        return bool(made.stats.cache_hits)

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert [loaded(stamp) for stamp in ("one", "one", "two", "two")] == [False, True, False, True]


def test_the_stamp_is_of_every_file_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("A = 1")
    (tmp_path / "b.py").write_text("B = 1")
    stamps = {source_stamp(tmp_path)}
    for name, text in (("b.py", "B = 2"), ("a.py", "A = 2"), ("c.py", "")):
        (tmp_path / name).write_text(text)
        stamps.add(source_stamp(tmp_path))
    (tmp_path / "c.py").rename(tmp_path / "d.py")
    stamps.add(source_stamp(tmp_path))
    assert len(stamps) == 5


def test_a_part_of_a_kernel_has_no_reference_counts_and_so_makes_no_array() -> None:
    @compiled(numba.float64(numba.int64))
    def makes_one(n: int) -> float:
        return float(np.zeros(n)[0])

    def calls_it(n: int) -> float:
        return makes_one(n)

    with pytest.raises(NumbaError, match="built-in function zeros"):
        face(numba.float64(numba.int64))(calls_it)


def test_a_part_is_compiled_with_its_first_caller_for_its_signature_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    @compiled(numba.float64(numba.float64, numba.int64))
    def part(x: float, n: int) -> float:
        return x * n

    def calls_it(n: int) -> float:
        return part(n, n) + part(0.5, n)

    assert not part.overloads
    made = face(numba.float64(numba.int64))(calls_it)
    assert made(3) == 10.5
    assert [str(signature) for signature in part.overloads] == ["(float64, int64)"]
