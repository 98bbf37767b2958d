"""The campaign file beside a list: how its users were chosen, and who can be compared with them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.activate.arms import ARM_HASH, CONTROL, arm_column, check_arms
from engine.activate.options import By
from engine.activate.score_rows import IN_CONTROL, typed_columns
from engine.activate.selection import Filters, check_faults, value_faults
from engine.bundle.documents import parse_json
from engine.bundle.score_file import PROBABILITY
from engine.bundle.structure import (
    is_count,
    is_float32,
    is_number,
    is_probability,
    structure_problem,
)
from engine.errors import InputError, UsageError
from engine.inputs.errors import reading
from engine.inputs.tables import Table
from engine.outputs.alarms import file_sha256

FORMAT = 1
"""Rises when a reader of the old format would misread the new one; new keys alone do not raise it."""

RULES = {"arm_hash": ARM_HASH, "control_hash": "control-v1"}
EXPECTED_BUYERS = "upper bound of what contacting wins: users expected to buy within the horizon, contacted or not"


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


_NUMBER = (None, is_number)
_CAMPAIGN = {
    "format": is_count,
    "campaign": (None, str),
    "bundle_id": str,
    "snapshot_date": (None, _is_date),
    "id": str,
    "scores": [{"file": str, "sha256": str}],
    "filters": {"segments": [str], "bands": [str], "min_probability": (None, is_probability)},
    "by": lambda value: value in ("probability", "profit"),
    "cutoff": (None, is_float32),
    "arms": {str: is_probability},
    "users": is_count,
    "users_by_arm": {str: is_count},
    "control_users": is_count,
    "control_included": bool,
    "suppressed": is_count,
    "expected_buyers": is_number,
    "expected_profit": _NUMBER,
    "cost": _NUMBER,
    "rules": {"arm_hash": str, "control_hash": str},
}


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A file that a list was made from, by name and SHA-256."""

    file: str
    sha256: str


def score_files(tables: Sequence[Table]) -> tuple[ScoreFile, ...]:
    """The name and the SHA-256 of each open score file or object."""
    files = []
    for table in tables:
        with reading(table.name):
            digest = file_sha256(table.path or table.content)
        files.append(ScoreFile(Path(table.name).name, digest))
    return tuple(files)


@dataclass(frozen=True, slots=True)
class Campaign:
    """How the users of a list were chosen.

    Attributes:
        campaign: Its name.
        bundle_id: The bundle that made the scores.
        snapshot_date: Their date, ISO.
        id: The id column of the scores.
        scores: The score files.
        filters: What every user of the list passes.
        by: What ranked users.
        cutoff: The rank value (float32) of the last user admitted; None if everybody who passed the
            filters was.
        arms: The share of each arm, in the order in which they were drawn.
        users: Users to contact.
        users_by_arm: Users of each arm.
        control_users: Users with the same filters and cutoff who are in the control group of the scores,
            or drawn into the campaign's own arm "control".
        control_included: Whether they are in the list, as the arm "control".
        suppressed: Users who passed the filters but were suppressed, those of the control group
            included.
        expected_buyers: The sum of the probabilities of the users to contact.
        expected_profit: The sum of their expected profits, if they were ranked by it.
        cost: The cost of contacting them, if it is known.
    """

    campaign: str | None
    bundle_id: str
    snapshot_date: str | None
    id: str
    scores: tuple[ScoreFile, ...]
    filters: Filters
    by: By
    cutoff: float | None
    arms: Mapping[str, float]
    users: int
    users_by_arm: Mapping[str, int]
    control_users: int
    control_included: bool
    suppressed: int
    expected_buyers: float
    expected_profit: float | None
    cost: float | None

    def to_json(self) -> bytes:
        """The campaign file."""
        fixed = {"format": FORMAT, "expected_buyers_means": EXPECTED_BUYERS, "rules": RULES}
        # Not sorted by key: arms are drawn in their order.
        text = json.dumps({**asdict(self), **fixed}, indent=1, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Campaign":
        """Read a campaign file; `where` begins the message of an error.

        Raises:
            InputError: It is not a campaign file, or is of a format or of rules that are not known.
        """
        try:
            document = parse_json(content)
            problem = structure_problem(document, _CAMPAIGN, "it")
            if not problem:
                check_arms(document["arms"], "its arms")
        except (ValueError, UsageError) as error:
            problem = str(error)
        if problem:
            raise InputError(
                f"{where}: not a campaign file: {problem}. Give the file that 'engine audience' wrote."
            )
        if (document["format"], document["rules"]) != (FORMAT, RULES):
            raise InputError(
                f"{where}: format {document['format']} with the rules {document['rules']}; expected "
                f"{FORMAT} with {RULES}. Read it with the version that wrote it."
            )
        values: dict[str, Any] = {name: document[name] for name in cls.__dataclass_fields__}
        chosen = document["filters"]
        values["filters"] = Filters(
            tuple(chosen["segments"]), tuple(chosen["bands"]), chosen["min_probability"]
        )
        values["scores"] = tuple(ScoreFile(s["file"], s["sha256"]) for s in values["scores"])
        return cls(**values)


def _is_control(scores: pl.DataFrame, campaign: Campaign) -> pl.Expr:
    if CONTROL not in campaign.arms:
        return pl.col(IN_CONTROL)
    arm = arm_column(scores[campaign.id], campaign.campaign, campaign.arms)
    return pl.col(IN_CONTROL) | pl.lit(arm == CONTROL)


def read_campaign(path: Path) -> Campaign:
    """Read the campaign file beside a list.

    Raises:
        InputError: It is not one.
        NoInputError: It is not there.
    """
    with reading(str(path)):
        return Campaign.from_json(path.read_bytes(), str(path))


def comparable_control(scores: pl.DataFrame, campaign: Campaign) -> pl.DataFrame:
    """The control users of a score file with whom the contacted can be compared.

    They pass the same filters and reach the same cutoff. Users who were suppressed are among them, as
    the campaign file does not name these.

    Args:
        scores: Rows of the score files that the campaign names.
        campaign: How its users were chosen, ranked by probability.
    """
    columns = scores.columns
    snapshot = columns[1] if columns.index(PROBABILITY) == 2 else None
    typed = scores.with_columns(typed_columns(scores.schema, columns, snapshot))
    check_faults("scores", value_faults(typed, None))
    least = -np.inf if campaign.cutoff is None else np.float32(campaign.cutoff)
    conditions = [
        _is_control(typed, campaign),
        *campaign.filters.conditions().values(),
        pl.lit(typed[PROBABILITY] >= least),
    ]
    return scores.filter(typed.select(pl.all_horizontal(conditions)).to_series())
