"""Contact logs: who was assigned to which arm of which campaign, with the score of before.

Users count as they were assigned, whatever reached them (intention to treat). Each has one row per
campaign: of the first contact, as later scores may already be effects of it. The outcome is that of
the score's own snapshot: a contact costs once, so outcomes of later weeks do not count.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from engine.activate.arms import CONTROL
from engine.bundle.playbook import control_draws
from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import InputError, pluralize, quoted, rule_counts
from engine.inputs.open import open_inputs
from training.backtest.control import DATE, campaign_path, with_control
from training.backtest.tables import Tables, read_rows

LOG_COLUMNS = (
    Feature("campaign", "categorical", missing="never"),
    Feature("arm", "categorical", missing="never"),
)
SCORE_COLUMNS = (
    *("segment_id", "segment_name", "propensity_band", "purchase_probability"),
    "in_control_group",
)


@dataclass(frozen=True, slots=True)
class Contacts:
    """The users of all campaigns.

    Attributes:
        frame: One row for each user of a campaign: `campaign`, `id`, `arm`, the columns of
            `SCORE_COLUMNS`, and if scores have dates `snapshot`, that of the score, and `date`, of the
            first contact, or of the scores of a list with a campaign file.
        rows: Usable rows of the logs.
        caught: Rows and users that were left out, or counted otherwise than logged, by reason.
        planned: The share of each arm that lists drew, by campaign, where it is known.
    """

    frame: pl.DataFrame
    rows: int
    caught: Mapping[str, int]
    planned: Mapping[str, Mapping[str, float]]


def read_contacts(
    logs: Sequence[str], scores: Sequence[str], tables: Tables, schema: FeatureSchema
) -> Contacts:
    """Read contact logs and find the score of each user before the first contact.

    Args:
        logs: Tables with the id, `date`, `campaign` and `arm`, perhaps with a campaign file beside them.
        scores: The score files.
        tables: What they hold.
        schema: The name of the id, and of the snapshot, which counts as the date if there is none.

    Raises:
        InputError: Columns are missing, no control users are known, the scores are ambiguous, or no
            user was scored before the contact.
        NoInputError: There is nothing to read.
    """
    _check_one_bundle(tables)
    found = [_read_log(log, scores, tables, schema) for log in logs]
    rows = pl.concat([log.rows for log in found])
    caught = sum((Counter(log.caught) for log in found), Counter[str]())
    _check_control(rows, logs)
    rows, contacted_control = _as_assigned(_with_scores(rows, tables.scored))
    contacted_control += sum(log.contacted_control for log in found)
    users = _users(rows)
    single = users.filter(pl.col("arms") == 1)
    scored = single.filter(pl.col("propensity_band").is_not_null())
    ever = single.join(tables.scored, on="id", how="semi").height
    known = _with_one_share(scored)
    thinned = scored.join(known, on=["campaign", "id"], how="anti")
    caught += Counter(
        {
            "contacted users of the control group, who count as control users": contacted_control,
            "users in several arms": users.height - single.height,
            "users never scored": single.height - ever,
            "users contacted before their first score": ever - scored.height,
            "users left out because control shares differ between cells": thinned.height,
        }
    )
    if not scored.height:
        raise InputError(
            f"{', '.join(logs)}: no user of {users.height:,} has a score from before the contact "
            f"({rule_counts(caught)}). Give the scores from which the users were chosen."
        )
    return Contacts(known, sum(log.count for log in found), dict(caught), _planned(found))


def outcome_rows(contacts: Contacts, tables: Tables, horizon_days: int) -> pl.DataFrame:
    """The users whose outcome is known and could still be changed by the contact.

    Args:
        contacts: The users.
        tables: The outcomes; that of the snapshot of the user's score counts.
        horizon_days: How long after its snapshot an outcome is observed; 0 if nobody says, and then
            only contacts on the day of the snapshot count.

    Returns:
        The columns of `Contacts.frame`, `bought`, and `value` if there is one.
    """
    known = tables.known.filter(pl.col("bought").is_not_null())
    found = contacts.frame.join(known, on=tables.keys, how="inner")
    if "snapshot" not in tables.keys:
        return found
    end = pl.col("snapshot") + pl.duration(days=max(horizon_days, 1))
    return found.filter(pl.col(DATE) < end)


def _check_one_bundle(tables: Tables) -> None:
    repeated = tables.scored.height - tables.scored.select(tables.keys).n_unique()
    if repeated:
        raise InputError(
            f"scores: {pluralize(repeated, 'user')} scored more than once for a date, by bundles "
            f"{quoted(tables.scored['bundle_id'].unique().sort().to_list())}. Give the scores from "
            "which the contacted users were chosen, and no others."
        )


@dataclass(frozen=True, slots=True)
class _Log:
    rows: pl.DataFrame
    count: int
    caught: Mapping[str, int]
    contacted_control: int
    planned: Mapping[str, float]


def _read_log(log: str, scores: Sequence[str], tables: Tables, schema: FeatureSchema) -> _Log:
    """The usable rows of a log, those of its control group among them.

    `is_assigned` says whether a campaign file has named everybody in the control group.
    """
    dated = "snapshot" in tables.keys
    day = _check_columns(log, schema, dated=dated)
    table = FeatureSchema("contacts", LOG_COLUMNS, id=schema.id, snapshot=day)
    names = {feature.name: feature.name for feature in LOG_COLUMNS}
    rows, faults = read_rows([log], table, names, "contacts")
    caught = {f"rows with {rule}": count for rule, count in faults.items()}
    if dated:
        rows = rows.rename({"snapshot": DATE})
        if undated := rows[DATE].null_count():
            caught[f"rows with {day}|missing"] = undated
        rows = rows.filter(pl.col(DATE).is_not_null())
    count = rows.height
    if not campaign_path(log).is_file():
        return _Log(rows.with_columns(is_assigned=False), count, caught, 0, {})
    listed = with_control(log, rows, scores, tables, schema.horizon_days)
    rows = listed.rows.with_columns(is_assigned=listed.is_assigned)
    return _Log(rows, count, caught, listed.contacted_control, listed.planned)


def _planned(logs: Sequence[_Log]) -> dict[str, Mapping[str, float]]:
    """What lists planned for campaigns that have one log."""
    names = [log.rows["campaign"].unique().to_list() for log in logs]
    found = Counter(name for of_log in names for name in of_log)
    return {
        name: log.planned
        for log, of_log in zip(logs, names, strict=True)
        for name in of_log
        if log.planned and found[name] == 1 and len(of_log) == 1
    }


def _check_columns(log: str, schema: FeatureSchema, *, dated: bool) -> str | None:
    """The column of the contact date: `date`, or else the snapshot from which users were chosen."""
    with open_inputs([log]) as tables:
        names = set.intersection(*(set(table.columns) for table in tables))
    day = next((name for name in (DATE, schema.snapshot) if name in names), DATE) if dated else None
    needed = [name for name in (schema.id, day, "campaign", "arm") if name is not None]
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(
            f"{log}: {pluralize(len(missing), 'missing column')}: {quoted(missing)}; a contact log has "
            f"{quoted(needed)}. Add them: who was contacted{', when' if dated else ''}, in which arm of "
            "which campaign."
        )
    return day


def _check_control(rows: pl.DataFrame, logs: Sequence[str]) -> None:
    """Check that every campaign has control users."""
    control = rows.filter(pl.col("arm") == CONTROL)
    without = rows.join(control, on="campaign", how="anti")["campaign"].unique().sort().to_list()
    if without:
        raise InputError(
            f"{', '.join(logs)}: {pluralize(len(without), 'campaign')} without control users: "
            f"{quoted(without)}. Add the users who were left out as rows of the arm {CONTROL!r}, or put "
            "the '.campaign.json' that 'engine audience' wrote beside the log."
        )


def _with_scores(rows: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """The newest score of each user on or before the first contact; null if there is none."""
    if DATE not in rows.columns:
        return rows.join(scored.select("id", *SCORE_COLUMNS), on="id", how="left")
    return (
        rows.with_columns(pl.col(DATE).min().over("campaign", "id"))
        .sort(DATE)
        .join_asof(
            scored.select("id", "snapshot", *SCORE_COLUMNS).sort("snapshot"),
            left_on=DATE,
            right_on="snapshot",
            by="id",
            check_sortedness=False,
        )
    )


def _as_assigned(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The rows with contacted users of the control group under its arm, and how many these are.

    They were assigned to it by the score of the contact, in campaigns all of whose control users were;
    other campaigns drew their own, and lists with a campaign file say who was.
    """
    is_held, is_control = pl.col("in_control_group") == 1, pl.col("arm") == CONTROL
    drawn_there = (is_held | ~is_control).all().over("campaign")
    contacted = is_held & drawn_there & ~is_control & ~pl.col("is_assigned")
    count = rows.filter(contacted).select("campaign", "id").n_unique()
    return rows.with_columns(arm=pl.when(contacted).then(pl.lit(CONTROL)).otherwise("arm")), count


def _users(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each user of a campaign, with the number of different arms in `arms`."""
    return (
        rows.group_by("campaign", "id")
        .agg(pl.all().first(), arms=pl.col("arm").n_unique())
        .sort("campaign", "id")
    )


def _with_one_share(users: pl.DataFrame) -> pl.DataFrame:
    """The users among whom every cell has the same share of control users.

    The scores put a user in the control group whose draw is below the share of the cell. Where cells
    have different shares, users drawn between the lowest and the highest are left out of all cells:
    then below are control users only, above contacted ones only, whatever the cell. Cells without any
    control users are left out. Campaigns that contacted the control group of the scores drew their own.
    """
    cell = ("campaign", "segment_id", "propensity_band")
    is_held = pl.col("in_control_group") == 1
    drawn = users.with_columns(
        draw=control_draws(users["id"]),
        has_control=is_held.any().over(cell),
        from_scores=(pl.col("is_assigned") | ~is_held | (pl.col("arm") == CONTROL))
        .all()
        .over("campaign"),
    )
    ends = drawn.with_columns(
        lowest=pl.col("draw").filter(~is_held, pl.col("has_control")).min().over("campaign"),
        highest=pl.col("draw").filter(is_held).max().over("campaign"),
    )
    between = pl.col("draw").is_between("lowest", "highest")
    without = (~pl.col("has_control") & (pl.col("draw") < pl.col("lowest"))).any().over(cell)
    left_out = pl.col("from_scores") & (between | without).fill_null(value=False)
    return ends.filter(~left_out).select(users.columns)
