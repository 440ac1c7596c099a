"""No process goes on acting alone: a child asks the kernel for a signal at the death of its supervisor.

Rules: standard library only, and Linux only; elsewhere nothing is asked for. `python -m gateways.with_parent PID
SIGNAL PROGRAM ARGUMENTS` does it for a program that isn't ours: same process id, the program in its place.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Have `number` sent to this process when its parent dies; exits at once with 143 if it has died already.

    `parent_pid` tells "died already" apart from a supervisor that is process 1, as in a container.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:
            sys.exit(143)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), signal.Signals(int(sys.argv[2])))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 (the program takes this process: no shell wanted)
