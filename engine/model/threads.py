"""Work on several threads with results in order, and the number of threads."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

from engine.interruption import finished

Progress = Callable[[int, int], None]
"""Called after each chunk with the rows done and the rows in all."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result]:
    """Apply a function to items on several threads; results come in the order of the items.

    Only a few more items than threads are read ahead, so memory stays flat. A separate thread reads
    the items, so a signal also ends the wait for the next one.

    Raises:
        InterruptedRunError: A signal came.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
    reader = ThreadPoolExecutor(1, thread_name_prefix="read")
    end = object()
    iterator: Iterator[Item | object] = iter(items)
    try:
        waiting: deque[Future[Result]] = deque()
        while (item := finished(reader.submit(next, iterator, end))) is not end:
            waiting.append(pool.submit(function, cast("Item", item)))
            if len(waiting) > threads + 1:
                yield finished(waiting.popleft())
        while waiting:
            yield finished(waiting.popleft())
    finally:
        # A run that ends early does not wait for chunks in progress.
        for executor in (reader, pool):
            executor.shutdown(wait=False, cancel_futures=True)


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The number of cores that this process may use.

    Args:
        quota: The file with the CPU limit of a container: `<microseconds> <period>`, or `max` for
            no limit.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return max(1, min(cores, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):
        return cores
