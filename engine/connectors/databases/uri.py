"""The location of a PostgreSQL, SQLite or DuckDB database: a URI that is never shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from engine.errors import BundleError, UsageError

Kind = Literal["postgresql", "sqlite", "duckdb"]

KINDS: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
}

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Database:
    """The location of a database.

    Attributes:
        variable: The environment variable that holds the URI; messages name it.
        uri: `postgresql://user:password@host/name`, `sqlite:///file` or `duckdb:///file`, with a
            fourth slash if the path is absolute.
        kind: The kind of database.
    """

    variable: str
    uri: str = field(repr=False)
    kind: Kind

    @classmethod
    def of(cls, variable: str, environment: Mapping[str, str]) -> "Database":
        """Read the URI from an environment variable.

        Raises:
            UsageError: The name is not valid for a variable.
            BundleError: The variable is not set, or is not the URI of a known database.
        """
        if not _VARIABLE.fullmatch(variable):
            raise UsageError(
                "--source-env, --target-env: not the name of an environment variable; not shown here, "
                "as it may hold a password. Put the URI into a variable, and give its name."
            )
        uri = environment.get(variable, "")
        scheme, separator, rest = uri.partition("://")
        if not uri:
            raise BundleError(f"{variable}: not set. Put the URI of the database into it.")
        if (
            scheme not in KINDS
            or not separator
            or (KINDS[scheme] != "postgresql" and len(rest) < 2)
        ):
            raise BundleError(
                f"{variable}: does not begin with postgresql://, sqlite:/// or duckdb:///. "
                "Fix it; it is not shown here."
            )
        return cls(variable, uri, KINDS[scheme])

    @property
    def file(self) -> Path | None:
        """The file of a SQLite or DuckDB database."""
        if self.kind == "postgresql":
            return None
        return Path(unquote(self.uri.partition("://")[2].removeprefix("/")))
