"""Who is contacted in a simulation: lists of contacts, read and looked up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.activate.arms import CONTROL
from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import InputError, pluralize, quoted, rule_counts
from engine.inputs.chunks import read_users
from engine.inputs.open import open_inputs
from engine.inputs.tables import Table
from engine.options import CHUNK_ROWS
from engine.rows.rules import check_columns, check_same_keys, split_rows
from training.simulate.people import IntArray
from training.simulate.uplift import ARM_SHIFTS

ArmArray = npt.NDArray[np.int8]

ARMS = (CONTROL, *ARM_SHIFTS)
"""The names of the arms; the code of an arm is its position."""
UNLISTED = -1
"""The code of users who are in no list."""

ID = "user_id"
DATES = ("snapshot_date", "date")
"""The columns that may hold the snapshot; the first that every list has does."""
SIMULATED_ID = r"^U(\d{8}|[1-9]\d{8,17})$"
NO_ACCOUNT = 0  # of an id that no simulated user has


@dataclass(frozen=True, slots=True)
class DayContacts:
    """The contacts at one date.

    Attributes:
        account: The numbers of the accounts, rising, int64 [contacts].
        arm: The codes of their arms, int8 [contacts].
    """

    account: IntArray
    arm: ArmArray


@dataclass(frozen=True, slots=True)
class ContactLists:
    """Who is contacted, by snapshot date; nobody by default.

    Attributes:
        name: The lists, for messages.
        contacts: At each date with contacts.
    """

    name: str = ""
    contacts: Mapping[date, DayContacts] = field(default_factory=dict)

    def arms(self, day: date, account: IntArray) -> ArmArray:
        """The arm of each account at a date, int8 [rows]."""
        if day not in self.contacts:
            return np.full(len(account), UNLISTED, np.int8)
        listed = self.contacts[day]
        place = np.searchsorted(listed.account, account)
        place = np.minimum(place, len(listed.account) - 1)
        found = listed.account[place] == account
        return np.where(found, listed.arm[place], np.int8(UNLISTED))

    def check_dates(self, dates: Sequence[date]) -> None:
        """Check that users are simulated at every date of a contact.

        Raises:
            InputError: There is another date.
        """
        others = sorted(set(self.contacts) - set(dates))
        if others:
            rows = sum(len(self.contacts[day].account) for day in others)
            raise InputError(
                f"{self.name}: {pluralize(rows, 'contact')} at dates that are not simulated: "
                f"{quoted(map(str, others))}; expected {quoted(map(str, dates))}. "
                "Set --as-of and --weeks to the dates of the list."
            )

    def check_found(self, found: Mapping[date, int]) -> None:
        """Check that the user of every contact was simulated.

        Args:
            found: How many contacts were, at each date.

        Raises:
            InputError: Some were not.
        """
        listed = {day: len(contacts.account) for day, contacts in self.contacts.items()}
        lost = {day: rows - found[day] for day, rows in listed.items() if rows > found[day]}
        if lost:
            raise InputError(
                f"{self.name}: {sum(lost.values()):,} of {pluralize(sum(listed.values()), 'contact')} "
                "with users who are not simulated at that date: "
                f"{', '.join(f'{rows:,} at {day}' for day, rows in sorted(lost.items()))}. Simulate "
                "the users that the list was made from: same --seed, --rows and first date, and the "
                "same earlier lists."
            )


NO_LISTS = ContactLists()


def read_contact_lists(lists: Sequence[str]) -> ContactLists:
    """Read lists of contacts, as `engine audience` writes them.

    Args:
        lists: Tables with `user_id`, `arm`, and `snapshot_date` or `date`.

    Raises:
        InputError: A column or a value is missing, a user is listed twice at a date, or an arm is
            not one of `ARMS`.
        NoInputError: There is nothing to read.
    """
    name = ", ".join(lists)
    with open_inputs(lists, (ID, *DATES, "arm")) as tables:
        schema = _schema(tables)
        day = str(schema.snapshot)
        frames, broken = [], Counter[str]()
        for chunk in read_users(tables, (ID, day, "arm"), CHUNK_ROWS, schema):
            split = split_rows(chunk.frame, schema, chunk.faults)
            broken.update(split.reasons)
            broken[f"{day}|missing"] += split.valid[day].null_count()
            frames.append(_coded(split.valid, day, chunk.file))
    if broken.total():
        raise InputError(
            f"{name}: {rule_counts(+broken)}. Give each user at most once at a date, with an arm."
        )
    if not frames:
        raise InputError(f"{name}: no row of contacts. Check the job that writes the list.")
    return ContactLists(name, _by_date(pl.concat(frames)))


def _schema(tables: Sequence[Table]) -> FeatureSchema:
    snapshot = next((name for name in DATES if all(name in t.columns for t in tables)), None)
    if snapshot is None:
        raise InputError(
            f"{', '.join(table.name for table in tables)}: no column {DATES[0]!r} or {DATES[1]!r}. "
            "Add the snapshot date of the scores from which the list was made."
        )
    arm = Feature("arm", "categorical", missing="never", values=ARMS)
    schema = FeatureSchema("contacts", (arm,), id=ID, snapshot=snapshot)
    for table in tables:
        check_columns(schema, table.columns, table.name, "a campaign")
    check_same_keys(schema, ((table.name, table.columns) for table in tables))
    return schema


def _coded(frame: pl.DataFrame, snapshot: str, where: str) -> pl.DataFrame:
    """`day`, `account` and the code of the `arm` of each contact."""
    unknown = frame.filter(~pl.col("arm").is_in(ARMS))["arm"]
    if unknown.len():
        raise InputError(
            f"{where}: {pluralize(unknown.len(), 'contact')} in arms without a known effect: "
            f"{quoted(unknown.unique().sort())}; expected {quoted(ARMS)}. Name the arms so."
        )
    return frame.select(
        day=pl.col(snapshot),
        account=pl.col(ID).str.extract(SIMULATED_ID).cast(pl.Int64).fill_null(NO_ACCOUNT),
        arm=pl.col("arm").replace_strict(ARMS, range(len(ARMS)), return_dtype=pl.Int8),
    )


def _by_date(frame: pl.DataFrame) -> dict[date, DayContacts]:
    parts = frame.sort("account").partition_by("day", as_dict=True)
    return {
        day: DayContacts(part["account"].to_numpy(), part["arm"].to_numpy())
        for (day,), part in parts.items()
    }
