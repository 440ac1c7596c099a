"""Ctrl-C and the processes that help: who starts them hears it again, whatever becomes of the start."""

from __future__ import annotations

import signal

import pytest

from streams.interrupts import unheard


def start() -> None:
    assert not is_heard()
    raise BlockingIOError("no more processes")


def is_heard() -> bool:
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_ctrl_c_is_heard_again_where_a_start_has_failed() -> None:
    with pytest.raises(BlockingIOError), unheard():
        start()
    assert is_heard()
