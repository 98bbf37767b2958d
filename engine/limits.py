"""What is read of an input at most. Loaded before Polars is, by the command line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputLimits:
    """More than this is a fault of the job that writes the input, or an attack.

    Attributes:
        max_columns: Columns of a table; in NDJSON, different keys.
        max_files: Files and folders that one directory or glob may stand for.
        max_gzip_ratio: How many times its packed size a file may have.
    """

    max_columns: int = 10_000
    max_files: int = 100_000
    max_gzip_ratio: int = 100
