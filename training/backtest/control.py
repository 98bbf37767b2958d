"""The control group of a list that `engine audience` made: who was left out of it by chance.

All users of a list have the date of its scores, whenever they were contacted. So contacted and control
users have the score, segment and band by which they were chosen, and outcomes of the same days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from engine.activate.arms import CONTROL
from engine.activate.campaign import Campaign, comparable_control, read_campaign, score_files
from engine.errors import InputError, pluralize, quoted
from engine.inputs.open import STANDARD_INPUT, open_inputs
from training.backtest.tables import Tables

DATE = "date"
"""The day of a contact."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A log whose list is known.

    Attributes:
        rows: Its rows, with the control group under the arm `CONTROL`; all have the date of the list's
            scores.
        contacted_control: Users of the control group who were contacted; they count as control users.
        planned: The share of each arm that the campaign drew, its own control group among them.
        is_assigned: Whether every user of the control group is known, not only those in the log.
    """

    rows: pl.DataFrame
    contacted_control: int
    planned: Mapping[str, float]
    is_assigned: bool


def campaign_path(log: str) -> Path:
    """Where the campaign file of a log lies."""
    return Path(f"{log}.campaign.json")


def with_control(
    log: str, rows: pl.DataFrame, scores: Sequence[str], tables: Tables, horizon_days: int
) -> Listed:
    """Add the control group of a log that has a campaign file.

    Args:
        log: The log; its campaign file exists.
        rows: Its rows.
        scores: The score files.
        tables: What they hold.
        horizon_days: How long after its snapshot an outcome is observed.

    Raises:
        InputError: The list was made from other scores or sent after their outcomes ended, the log has
            other campaigns or arms, or its control group cannot be found.
    """
    path = campaign_path(log)
    campaign = read_campaign(path)
    _check_same(path, campaign, rows)
    _check_scores(path, campaign, scores)
    day = tables.scored
    if campaign.snapshot_date is not None and DATE in rows.columns:
        snapshot = date.fromisoformat(campaign.snapshot_date)
        _check_in_time(path, snapshot, rows, horizon_days)
        rows = rows.with_columns(pl.lit(snapshot).alias(DATE))
        day = day.filter(pl.col("snapshot") == snapshot)
    _check_bundle(path, campaign, day)
    control = _control_ids(path, campaign, day)
    is_control = pl.col("id").is_in(control["id"].implode())
    contacted = rows.filter(is_control & (pl.col("arm") != CONTROL)).n_unique("id")
    rows = rows.with_columns(arm=pl.when(is_control).then(pl.lit(CONTROL)).otherwise("arm"))
    if campaign.control_included and not (rows["arm"] == CONTROL).any():
        raise InputError(
            f"{log}: no rows of the arm {CONTROL!r}, which are in the list ({path}). Log the control rows "
            "too, not only the contacts."
        )
    if not campaign.control_included:
        first = rows.group_by("campaign").agg(pl.exclude("id", "arm").min())
        added = first.join(control, how="cross").with_columns(arm=pl.lit(CONTROL))
        rows = pl.concat([rows, added.select(rows.columns)])
    return Listed(rows, contacted, campaign.arms, campaign.by == "probability")


def _control_ids(path: Path, campaign: Campaign, day: pl.DataFrame) -> pl.DataFrame:
    """The ids of the comparable control users, one column `id`; none if a log must name them."""
    if campaign.by == "profit" and campaign.control_included:
        return day.select("id").clear()
    if campaign.by == "profit":
        raise InputError(
            f"{path}: ranks users by profit, which scores do not have, so its control group is unknown. "
            "Make the list with --include-control, and log the control users too."
        )
    frame = day.select(
        *(name for name in ("id", "snapshot") if name in day.columns),
        *("purchase_probability", "propensity_band", "segment_name"),
        pl.col("segment_id").cast(pl.Int64),
        pl.col("in_control_group") == 1,
    )
    found = comparable_control(frame, replace(campaign, id="id"))
    if found.height != campaign.control_users and not campaign.control_included:
        suppressed = pluralize(campaign.suppressed, "user")
        reason = f" ({suppressed} were suppressed, and the file does not say who)"
        raise InputError(
            f"{path}: has {pluralize(campaign.control_users, 'control user')}, the scores {found.height:,}"
            f"{reason if campaign.suppressed else ''}. Make the list with --include-control, and log the "
            "control users too."
        )
    return found.select("id")


def _check_same(path: Path, campaign: Campaign, rows: pl.DataFrame) -> None:
    """Check that a log has the campaign and the arms of its list."""
    expected = {
        "campaign": {campaign.campaign} if campaign.campaign is not None else None,
        "arm": {*campaign.arms, CONTROL},
    }
    for column, known in expected.items():
        found = rows[column].unique().sort().to_list()
        other = [name for name in found if known is not None and name not in known]
        if other:
            raise InputError(
                f"{path}: the log has the {column} {quoted(other)}, the file {quoted(sorted(known or ()))}. "
                "Put the file beside the log of its own campaign."
            )


def _check_scores(path: Path, campaign: Campaign, scores: Sequence[str]) -> None:
    """Check that the scores are those from which the list was made."""
    # Standard input has been read.
    with open_inputs([one for one in scores if one != STANDARD_INPUT]) as tables:
        given = {score.sha256 for score in score_files(tables)}
    other = [score.file for score in campaign.scores if score.sha256 not in given]
    if other:
        raise InputError(
            f"{path}: the list was made from {quoted(other)}, which differs from all files in "
            f"{', '.join(scores)} (SHA-256). Give the same file as SCORES."
        )


def _check_in_time(path: Path, snapshot: date, rows: pl.DataFrame, horizon_days: int) -> None:
    """Check that contacts could still change the outcomes of the list's scores."""
    end = snapshot + timedelta(days=max(horizon_days, 1))
    late = rows.filter(pl.col(DATE) >= end).height
    if late and late == rows.height:
        raise InputError(
            f"{path}: all {pluralize(late, 'contact')} are from {rows.select(pl.col(DATE).min()).item()} on, and the outcomes of the "
            f"scores of {snapshot} end before {end} (horizon_days in the schema). Contact users of newer scores."
        )


def _check_bundle(path: Path, campaign: Campaign, day: pl.DataFrame) -> None:
    found = day["bundle_id"].unique().sort().to_list()
    if found != [campaign.bundle_id]:
        raise InputError(
            f"{path}: the list was made with scores of bundle {campaign.bundle_id!r} on "
            f"{campaign.snapshot_date}, the scores of that date have {quoted(found)}. Give the scores "
            "from which it was made."
        )
