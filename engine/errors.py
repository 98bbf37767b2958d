"""The kinds of errors, each with an exit code and a message for people.

A message says where, how many and which, expected and found, and the next step.
"""

import errno
import re
import signal
import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb

NAMES_SHOWN = 8

_NO_MEMORY = re.compile("bad_alloc|[Ff]ailed to allocate memory|memory allocation of")
"""How libraries that are not written in Python say that there is no memory."""


class EngineError(Exception):
    """Every error raised on purpose; `exit_code` is that of the command line."""

    exit_code = 1


class UsageError(EngineError):
    """The call contradicts itself."""

    exit_code = 2


class InputError(EngineError):
    """The input breaks the contract, or too many of its rows do."""

    exit_code = 65

    @classmethod
    def missing_columns(
        cls, where: str, missing: Iterable[str], found: Iterable[str], bundle_id: str, needed: int
    ) -> "InputError":
        """Name the missing columns, and similar columns that were found."""
        missing, found = sorted(missing), list(found)
        near = {name: match for name in missing if (match := near_name(name, found))}
        hint = ", ".join(f"{quoted([v])} for {quoted([k])}" for k, v in near.items())
        return cls(
            f"{where}: {pluralize(len(missing), 'missing column')}: {quoted(missing)}; "
            f"{bundle_id} needs {needed}, found {needed - len(missing)} of them."
            + (f" Did you mean {hint}?" if hint else "")
            + " See: engine inspect --full"
        )

    @classmethod
    def wrong_types(cls, where: str, wrong: Iterable[tuple[str, str, str]]) -> "InputError":
        """Name the columns of a wrong type, each with what was expected and what was found."""
        wrong = list(wrong)
        details = "; ".join(f"{quoted([n])} expected {e}, found {f}" for n, e, f in wrong)
        return cls(
            f"{where}: {pluralize(len(wrong), 'column')} of the wrong type: {details}. "
            "Convert them in the job that writes the table."
        )


class NoInputError(EngineError):
    """There is nothing to read."""

    exit_code = 66


class UnavailableError(EngineError):
    """A required program or service is not available."""

    exit_code = 69


class SelfCheckError(EngineError):
    """A self-check of the engine or of an export failed; nothing is published."""

    exit_code = 70


class ResourceError(EngineError):
    """The machine gives too little: memory, processes, threads or descriptors."""

    exit_code = 71

    @classmethod
    def of(cls, error: BaseException) -> "ResourceError | None":
        """The shortage that an unexpected error stands for; None if it stands for none."""
        text, number = str(error), error_number(error)
        if isinstance(error, MemoryError) or number == errno.ENOMEM or _NO_MEMORY.search(text):
            return cls.of_memory()
        if number in (errno.EMFILE, errno.ENFILE):
            return cls(
                "too few open files are allowed (ulimit -n, systemd LimitNOFILE). Raise the limit, or "
                "lower --threads and the number of inputs."
            )
        # NOTE: Python has no kind of error of its own for a thread that cannot be started. Its own EAGAIN
        # is of a pipe or a terminal; only libraries in Rust mean a thread by it.
        is_thread = number == errno.EAGAIN and getattr(error, "errno", None) is None
        if is_thread or "can't start new thread" in text:
            return cls.of_threads()
        return None

    @classmethod
    def of_memory(cls, detail: str = "") -> "ResourceError":
        """Too little memory."""
        return cls(
            f"out of memory{detail} (ulimit -v, a container's limit, systemd MemoryMax). Raise the limit, "
            "or lower --chunk-rows and --threads."
        )

    @classmethod
    def of_threads(cls, detail: str = "") -> "ResourceError":
        """Too few threads."""
        return cls(
            f"too few processes and threads are allowed{detail} (ulimit -u, docker --pids-limit, systemd "
            "TasksMax). Raise the limit, or lower --threads and POLARS_MAX_THREADS."
        )


class CannotCreateError(EngineError):
    """The output cannot be created there."""

    exit_code = 73


class StorageError(EngineError):
    """Reading or writing failed, for instance because the disk is full."""

    exit_code = 74


class LockedError(EngineError):
    """Another run holds the output."""

    exit_code = 75

    @classmethod
    def of_output(cls, out: Path) -> "LockedError":
        """Another run has locked it."""
        return cls(f"{out}: another run holds this output. Wait for it, or write to another path.")

    @classmethod
    def of_commit(cls, name: str) -> "LockedError":
        """Another job was faster to commit to a table."""
        return cls(
            f"{name}: another job committed to this table at the same time, and nothing of this run was "
            "published. Run again."
        )


class VersionError(EngineError):
    """The bundle needs another engine version."""

    exit_code = 76


class AccessError(EngineError):
    """The operating system does not allow it."""

    exit_code = 77


class BundleError(EngineError):
    """The bundle or a configuration file is missing or invalid."""

    exit_code = 78


class InterruptedRunError(EngineError):
    """A signal ended the run; nothing was published, unless `consequence` says otherwise."""

    def __init__(
        self, signal_number: int, consequence: str = "nothing was published. Run again."
    ) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"interrupted by {name}; {consequence}")
        self.exit_code = 128 + signal_number


def error_number(error: BaseException) -> int | None:
    """The number that the operating system gives an error; None if it has none."""
    # NOTE: Polars states an error of the operating system only in its text.
    stated = re.search(r"(?:os error|Os { code:) (\d+)", str(error))
    return getattr(error, "errno", None) or (int(stated[1]) if stated else None)


def system_error_kind(error: OSError) -> type[EngineError]:
    """The kind of an error of the operating system that nothing has translated."""
    return AccessError if isinstance(error, PermissionError) else StorageError


def near_name(name: str, found: Iterable[str]) -> str | None:
    """The known name that is probably meant: it differs in case, spaces, marks or a few letters."""
    plain = {_plain(other): other for other in found}
    match = get_close_matches(_plain(name), plain, n=1, cutoff=0.75)
    return plain[match[0]] if match else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", name).casefold()).strip("_")


def bug_text(error: BaseException) -> str:
    """The kind of an unexpected error and where it was raised.

    Its message is omitted, because it may quote a value of the input.
    """
    frames = extract_tb(error.__traceback__)
    root = Path(__file__).parents[1]
    packages = (root / "engine", root / "training")
    ours = [f for f in frames if any(Path(f.filename).is_relative_to(p) for p in packages)]
    where = "".join(f" at {Path(f.filename).name}:{f.lineno}" for f in (ours or frames)[-1:])
    return f"a bug: {type(error).__name__}{where}"


def quoted(names: Iterable[str]) -> str:
    """The first few names, in quotes."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def pluralize(count: int, noun: str) -> str:
    """A number and its noun: 1 row, 2 rows."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def rule_counts(caught: Mapping[str, int]) -> str:
    """The broken rules with their counts, most frequent first."""
    frequent = sorted(caught.items(), key=lambda item: -item[1])[:NAMES_SHOWN]
    return ", ".join(f"{rule} {rows:,}" for rule, rows in frequent)
