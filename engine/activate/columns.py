"""The columns of a list: the default ones, those asked for, or those of a sender's template."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import polars as pl
from polars.selectors import by_name

from engine.activate.options import AudienceOptions
from engine.activate.score_rows import BAND
from engine.bundle.documents import read_toml
from engine.bundle.score_file import DRIVER_NAMES, PROBABILITY, REASON_NAMES
from engine.errors import UsageError, quoted

ID = "id"
"""What options and templates call the id column, whatever its name is."""
CAMPAIGN, ARM = "campaign", "arm"
TABLE_MARKS = (PROBABILITY, ARM)
"""Columns that every list in a table has; only tables with them are replaced."""

_TEMPLATES = Path(str(files("engine") / "activate" / "templates"))
REPEATED_TEXTS = (
    *(BAND, "segment_name", "action", *REASON_NAMES, *DRIVER_NAMES),
    *(CAMPAIGN, ARM, "bundle_id"),
)
"""Sources with few distinct texts, which are dictionary-encoded in Arrow."""


@dataclass(frozen=True, slots=True)
class Template:
    """How a sender wants its list.

    Attributes:
        columns: The source of each column, by its header.
        endings: The endings that the sender takes.
        max_megabytes: The largest file that it takes, if it says so.
    """

    columns: Mapping[str, str]
    endings: tuple[str, ...]
    max_megabytes: int | None


def template_names() -> list[str]:
    """The senders that there are templates for."""
    return sorted(path.stem for path in _TEMPLATES.glob("*.toml"))


def load_template(name: str) -> Template:
    """The template of a sender.

    Raises:
        UsageError: There is none.
    """
    if name not in template_names():
        raise UsageError(f"--template: no {name!r}. There are {quoted(template_names())}.")
    found = read_toml(_TEMPLATES / f"{name}.toml", absent="no such template.")
    return Template(found["columns"], tuple(found["endings"]), found.get("max_megabytes"))


def list_columns(
    options: AudienceOptions,
    template: Template | None,
    found: Collection[str],
    keys: Sequence[str],
) -> dict[str, str]:
    """The source of each column of a list, by its header.

    Args:
        options: Which columns, under which names.
        template: Decides both, if there is one.
        found: The columns of the scores.
        keys: The id column, and the snapshot column if there is one.

    Raises:
        UsageError: The columns contradict each other, or mix arms that nobody can tell apart.
    """
    id_column = keys[0]
    if template is not None:
        columns = {new: id_column if old == ID else old for new, old in template.columns.items()}
    else:
        names = options.columns or _default_columns(options, found, keys)
        renames = {id_column if old == ID else old: new for old, new in options.renames.items()}
        names = tuple(id_column if name == ID else name for name in names)
        unknown = [old for old in renames if old not in names]
        if unknown:
            raise UsageError(
                f"--rename: no column {quoted(unknown)} in the list, which has {quoted(names)}."
            )
        headers = [renames.get(name, name) for name in names]
        twice = sorted({header for header in headers if headers.count(header) > 1})
        if twice:
            raise UsageError(f"--columns, --rename: {quoted(twice)} more than once in the list.")
        columns = dict(zip(headers, names, strict=True))
    if ARM not in columns.values() and (len(options.arms) > 1 or options.include_control):
        raise UsageError(
            f"the list would mix arms without a column {ARM!r}, so the sender could not tell them apart. "
            "Add it to --columns, or make a list without arms and control group."
        )
    return columns


def repeated_headers(options: AudienceOptions, template: Template | None) -> tuple[str, ...]:
    """The headers of columns whose source is one of `REPEATED_TEXTS`."""
    if template is not None:
        return tuple(new for new, old in template.columns.items() if old in REPEATED_TEXTS)
    renames = options.renames
    changed = {*renames, *renames.values()}
    kept = tuple(name for name in REPEATED_TEXTS if name not in changed)
    return (*kept, *(new for old, new in renames.items() if old in REPEATED_TEXTS))


def _default_columns(
    options: AudienceOptions, found: Collection[str], keys: Sequence[str]
) -> tuple[str, ...]:
    reasons = REASON_NAMES if REASON_NAMES[0] in found else DRIVER_NAMES
    campaign = (ARM,) if options.campaign is None else (CAMPAIGN, ARM)
    scores = (PROBABILITY, BAND, "segment_name", "action")
    return (*keys, *scores, *(name for name in reasons if name in found), *campaign)


def needed_by(options: AudienceOptions, columns: Mapping[str, str]) -> dict[str, str]:
    """The columns of the scores that options need, each with the option."""
    needed = dict.fromkeys(columns.values(), "the list")
    option = f"--template {options.template}" if options.template else "--columns"
    if options.template or options.columns:
        needed = dict.fromkeys(columns.values(), option)
    if options.segments:
        needed |= dict.fromkeys(("segment_id", "segment_name"), "--segment")
    if options.bands:
        needed |= {BAND: "--band"}
    if options.by == "profit":
        needed |= dict.fromkeys(("segment_id", "segment_name", BAND), "--by profit")
    return {name: what for name, what in needed.items() if name not in (CAMPAIGN, ARM)}


def list_rows(
    rows: pl.DataFrame, arm: pl.Series, columns: Mapping[str, str], campaign: str | None
) -> pl.DataFrame:
    """Rows of the list.

    Args:
        rows: Typed scores of the users in it.
        arm: The arm of each.
        columns: The source of each column, by its header.
        campaign: The name of the campaign.
    """
    drawn = {CAMPAIGN: pl.lit(campaign, pl.String), ARM: pl.lit(arm)}
    return rows.select(
        drawn.get(source, by_name(source)).alias(header) for header, source in columns.items()
    )
