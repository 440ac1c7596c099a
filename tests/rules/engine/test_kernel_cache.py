"""How kernels are compiled. Numba's cache: a folder that can't be written costs a compile and a word, never a start."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from rules.engine import kernel
from rules.engine.arrays import compiled, face


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
        assert kernel.frame.stats.cache_path


def test_a_part_of_a_kernel_has_no_reference_counts_and_so_makes_no_array() -> None:
    def makes_one(n: int) -> float:
        return float(np.zeros(n)[0])

    with pytest.raises(NumbaError, match="built-in function zeros"):
        compiled(numba.float64(numba.int64))(makes_one)
