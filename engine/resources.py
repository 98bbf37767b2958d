"""What the machine must give before Polars is loaded: without it, Polars aborts or waits forever."""

import os
import resource
import sys
from pathlib import Path
from threading import Event, Thread

from engine.errors import ResourceError
from engine.model.threads import available_cores

MIB = 1 << 20
OWN_THREADS = 11
"""Threads of a run besides those that grow with the cores or with `--threads`, measured on 2 cores."""
THREADS_PER_THREAD = 3
"""A thread that scores, and those of Polars and ONNX Runtime that serve it."""

ADDRESS_SPACE_BYTES = 700 * MIB
"""Packages, buffers and chunks of the default size; address space that is only reserved counts too."""
ARENA_BYTES = 64 * MIB
ARENAS_PER_CORE = 8
"""The C library reserves an arena for each thread, up to 8 per core."""
MEMORY_BYTES = 160 * MIB
"""Memory in use after loading the packages and opening a small bundle."""

CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")


def check_resources(threads: int | None, container_memory: Path = CONTAINER_MEMORY) -> None:
    """Check that enough memory and threads are allowed for a run.

    Args:
        threads: How many score; None for one per core.
        container_memory: The file with the memory limit of a container, in bytes or `max`.

    Raises:
        ResourceError: They are not; the message names the limits.
    """
    needed = needed_threads(threads)
    _check_memory(needed, container_memory)
    _check_threads(needed)


def needed_threads(threads: int | None) -> int:
    """The threads that a run starts, at most.

    Args:
        threads: How many score; None for one per core.
    """
    cores = os.cpu_count() or 1
    polars = int(os.environ.get("POLARS_MAX_THREADS") or cores)
    blas = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    own = OWN_THREADS + THREADS_PER_THREAD * (threads or available_cores())
    return own + polars + (int(blas) if blas.isdecimal() else cores) - 1


def _check_memory(threads: int, container_memory: Path) -> None:
    needed = ADDRESS_SPACE_BYTES + ARENA_BYTES * min(
        threads, ARENAS_PER_CORE * (os.cpu_count() or 1)
    )
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    # NOTE: macOS does not keep to this limit.
    if sys.platform != "darwin" and resource.RLIM_INFINITY != allowed < needed:
        raise _too_little_memory(allowed, needed, "address space")
    try:
        in_container = int(container_memory.read_text())
    except (OSError, ValueError):
        return
    if in_container < MEMORY_BYTES:
        raise _too_little_memory(in_container, MEMORY_BYTES, "memory")


def _too_little_memory(allowed: int, needed: int, what: str) -> ResourceError:
    return ResourceError.of_memory(
        f": {allowed // MIB:,} MiB of {what} allowed, at least {needed // MIB:,} needed"
    )


def _check_threads(needed: int) -> None:
    """Start this many threads at once, and end them."""
    end = Event()
    begun: list[Thread] = []
    try:
        for _ in range(needed):
            thread = Thread(target=end.wait, daemon=True)
            thread.start()
            begun.append(thread)
    # NOTE: the only error of a thread that cannot be started.
    except (RuntimeError, MemoryError) as error:
        raise ResourceError.of_threads(
            f": {len(begun):,} more could be started, {needed:,} needed"
        ) from error
    finally:
        end.set()
        for thread in begun:
            thread.join()
