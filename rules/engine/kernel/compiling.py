"""How the kernel is compiled, and how its machine code is known again.

The files of this folder are one program: constants and parts of one go into the machine code of others. Numba's cache
on disk looks at the file of a function alone, so it is told the hash of all of them: whatever changes here compiles all
of it anew (decision 0117).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

UNCACHED: Final = (
    "compiled rules can't be cached, so that every start compiles them anew (some 20 s): "
    "set NUMBA_CACHE_DIR to a folder that can be written"
)

_OPTIONS: Final = {"error_model": "numpy"}
"""A division by zero is infinite or no number, as everywhere else; a check would stop vectorisation."""

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*signature: Any) -> Callable[[F], F]:
    """A part of a kernel: has nothing for Python to call it by (which would crash), and compiles the faster for it.

    It is compiled when the first of its callers is, for its one signature or, without one, for what it is called with,
    and kept in its callers' machine code alone: where that is loaded from disk, nothing is done for a part.
    `_nrt`: nobody counts who uses an array, as Python holds them all meanwhile; counting takes 5 ns, thousands of times
    a frame (decision 0016). A part can make no array.
    """

    def decorate(function: F) -> F:
        part = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False, **_OPTIONS)(function)
        if signature:
            _compile_for(part, *signature)
        return cast("F", part)

    return decorate


def face(*signature: Any) -> Callable[[F], F]:
    """A kernel that Python calls, and what Numba keeps on disk; compiled, with a word about it, where it can't."""

    def decorate(function: F) -> F:
        others, numba.config.CACHE_LOCATOR_CLASSES = numba.config.CACHE_LOCATOR_CLASSES, _PLACES
        try:
            return cast("F", numba.njit(*signature, cache=True, **_OPTIONS)(function))
        except RuntimeError:
            warnings.warn(UNCACHED, stacklevel=1)
            return cast("F", numba.njit(*signature, **_OPTIONS)(function))
        finally:
            numba.config.CACHE_LOCATOR_CLASSES = others

    return decorate


def entry(kernel: Any) -> Callable[..., Any]:
    """The machine code of a face itself: what Python gives it is not compared with its one signature at each call."""
    return cast("Callable[..., Any]", next(iter(kernel.overloads.values())).entry_point)


def _compile_for(part: Any, signature: Any) -> None:
    """Let the first caller that is compiled compile `part`, for this signature and no other."""
    find = part.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        if not part.overloads:
            part.compile(signature)
            part.disable_compile()
        return find(args, kws)

    part.get_call_template = get_call_template


def source_stamp(folder: Traversable) -> str:
    """The hash of all Python files of a folder and of their names."""
    sources = sorted((file.name, file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".py"))
    return hashlib.sha256(repr(sources).encode()).hexdigest()


@cache
def kernel_stamp() -> str:
    """That of this folder, by which machine code is known again."""
    return source_stamp(files(__package__))


class _OfAllFiles:
    """In front of one of Numba's places for its cache."""

    def get_source_stamp(self) -> str:
        return kernel_stamp()


class NamedFolder(_OfAllFiles, UserProvidedCacheLocator):  # type: ignore[misc]
    """NUMBA_CACHE_DIR, where it is set."""


class BesideTheSource(_OfAllFiles, InTreeCacheLocator):  # type: ignore[misc]
    """`__pycache__`, where it can be written."""


class HomeFolder(_OfAllFiles, UserWideCacheLocator):  # type: ignore[misc]
    """The user's own cache folder."""


_PLACES: Final = ",".join(
    f"{__name__}.{place.__name__}" for place in (NamedFolder, BesideTheSource, HomeFolder)
)
