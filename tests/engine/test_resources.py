import os
import threading

import pytest

import engine.resources
from engine.errors import ResourceError
from engine.resources import check_resources, needed_threads


@pytest.mark.parametrize(
    ("variables", "threads", "needed"),
    [
        ({}, 1, 14 + 4 + 3),
        ({}, 8, 35 + 4 + 3),
        ({"POLARS_MAX_THREADS": "1"}, 1, 14 + 1 + 3),
        ({"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, 1, 14 + 1),
        ({"OMP_NUM_THREADS": "2"}, 1, 14 + 4 + 1),
        ({"OMP_NUM_THREADS": "2,3"}, 1, 14 + 4 + 3),
    ],
)
def test_threads_grow_with_cores_and_with_the_option(monkeypatch, variables, threads, needed):
    for name in ("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert needed_threads(threads) == needed


@pytest.mark.parametrize("limit", ["max", "500000000", ""])
def test_a_container_with_enough_memory_is_used(tmp_path, limit):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    check_resources(1, tmp_path / "memory.max")
    check_resources(1, tmp_path / "absent")


def test_a_container_with_too_little_memory_is_named(tmp_path):
    (tmp_path / "memory.max").write_text("100000000\n")
    with pytest.raises(ResourceError, match="95 MiB of memory allowed, at least 160 needed"):
        check_resources(1, tmp_path / "memory.max")


def test_threads_of_the_check_end_with_it(monkeypatch):
    monkeypatch.setattr(engine.resources, "OWN_THREADS", 200)
    before = threading.active_count()
    check_resources(1)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory"),
        (OSError(12, "Cannot allocate memory"), "out of memory"),
        (OSError(24, "Too many open files"), "too few open files"),
        (OSError(23, "Too many open files in system"), "too few open files"),
        (
            OSError("Resource temporarily unavailable (os error 11)"),
            "too few processes and threads",
        ),
        # Of a pipe that would block.
        (OSError(11, "Resource temporarily unavailable"), None),
        (RuntimeError("can't start new thread"), "too few processes and threads"),
        (Exception("Too many open files (os error 24)"), "too few open files"),
        (Exception("failed to spawn: Os { code: 11, kind: WouldBlock }"), "too few processes"),
        (Exception("std::bad_alloc"), "out of memory"),
        (OSError(28, "No space left on device"), None),
        (ValueError("x"), None),
    ],
)
def test_shortages_are_told_from_other_errors(error, words):
    found = ResourceError.of(error)
    assert words in str(found) if words else found is None
