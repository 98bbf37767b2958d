"""A run whose memory is limited, as the child of a small process that outlives it.

Where memory runs out, Polars and the C++ libraries abort the process: only another one can say why.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress

from engine.errors import ResourceError
from engine.interruption import SIGNALS

_FROM_THE_KERNEL = 128
"""The code of a signal that a terminal sent, to this process and the child alike."""
_DIE_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""


def supervise(program: str) -> None:
    """Go on in a child process if the address space is limited (`ulimit -v`); the parent does not return.

    The parent passes signals on and exits with the child's code. An aborted child is a shortage of memory.
    Call it before threads start.

    Args:
        program: Named at the start of the message.
    """
    # NOTE: macOS does not keep to this limit.
    if (
        sys.platform == "darwin"
        or resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    ):
        return
    watched = {*SIGNALS, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:
        # No process may be started: the run goes on alone, and names that limit itself.
        child = None
    if child:
        os._exit(_exit_code(program, _status(child, watched)))
    if child == 0:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _status(child: int, watched: set[signal.Signals]) -> int:
    """Pass signals on until the child ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        received = signal.sigwaitinfo(watched)
        if received.si_signo != signal.SIGCHLD and received.si_code != _FROM_THE_KERNEL:
            os.kill(child, received.si_signo)


def _exit_code(program: str, status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGABRT:
        shortage = ResourceError.of_memory()
        with suppress(OSError):
            os.write(2, f"{program}: {shortage}\n".encode())
        return shortage.exit_code
    return code if code >= 0 else 128 - code
