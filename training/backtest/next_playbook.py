"""The next playbook in TOML: the arm with the largest gain in each cell, with the evidence beside it."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.bundle.playbook import NO_CHANNEL
from engine.errors import BundleError, CannotCreateError, InputError
from engine.format import short, visible
from engine.pages.format import listed, signed
from training.backtest.money import Money
from training.backtest.tables import NO_SEGMENT
from training.playbook.rules import MAX_TEXT, Rule, load_rules

MARK = "# From here on, the rules are written by training backtest."
"""What precedes the written rules; the rest of a file is its owner's."""

AS_TESTED = "as tested"
"""Stands for a channel that only the sender of the test knows."""

_NAME = 60
_BRACES = str.maketrans("{}", "()")


def playbook_toml(policy: Mapping[str, Any] | None, money: Money, playbook: Path | None) -> str:
    """Rules of the arms that campaigns speak for, after those of the current playbook.

    Args:
        policy: From `recommendation.policy_figures`; None if no campaign can be trusted.
        money: What it was judged by.
        playbook: The current playbook, without the rules that were written before; None for the
            package's own, which always comes first.

    Raises:
        BundleError: Rules cannot follow those of the current playbook.
        InputError: No campaign can be trusted.
    """
    if policy is None:
        raise InputError(
            "no playbook written: the arms of every campaign have a sample-ratio mismatch. Find out which "
            "users are missing or were assigned otherwise, and give complete logs."
        )
    names = listed([_name(name) for name in policy["campaigns"][:3]])
    others = " and others" if len(policy["campaigns"]) > 3 else ""
    current = "" if playbook is None else playbook.read_text("utf-8-sig").split(MARK)[0]
    head = (
        f"{MARK}\n# Each cell gets the contact that gained most {policy['unit']} in {names}{others}, or "
        "none if all lose.\n# Gains are shrunken: drawn towards the effect in the band, or on all users where "
        "the band\n# has only one tested cell, the more the fewer users were tested."
    )
    before = _rules_before(current, playbook)
    rules = [
        "\n".join(_rule(cell, policy, names, _channel(cell, money, before)))
        for cell in policy["cells"]
    ]
    text = "\n\n".join([*filter(None, [current.strip()]), head, *rules]) + "\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BundleError(
            f"{playbook}: no rules can follow its own ({error}). Write its rules as [[rule]]."
        ) from error
    return text


def check_replaceable(out: Path) -> None:
    """Check that a playbook may be written.

    Raises:
        CannotCreateError: The path is a file that this command did not write.
    """
    if out.is_symlink() or (out.is_file() and MARK.encode() not in out.read_bytes()):
        raise CannotCreateError(
            f"{out}: exists and was not written by this command. Name another file, so that your own "
            "rules stay."
        )


def _rule(
    cell: Mapping[str, Any],
    policy: Mapping[str, Any],
    names: str,
    channel: str | None,
) -> Iterator[str]:
    users = "" if cell["users"] is None else f": {cell['users']:,} users"
    yield f"# {_name(cell['segment_name'])}, {cell['band']}{users}"
    yield "[[rule]]"
    if cell["segment_id"] != NO_SEGMENT[0]:
        yield f"segment = {cell['segment_id']}"
    yield f"band = {_text(cell['band'])}"
    arm = cell["arm"]
    if arm is None:
        yield f"action = {_text(f'No campaign: no contact that was tested in {names} pays here')}"
        yield f"channel = {_text(NO_CHANNEL)}"
        yield f"offer = {_text('none')}"
        yield "cost_per_contact = 0.0"
    else:
        yield f"action = {_text(f'Send “{_name(arm)}” as in {names}')}"
        if channel == AS_TESTED:
            yield "# The rules before may contact nobody here: name the channel of the test."
        if channel is not None:
            yield f"channel = {_text(channel)}"
        yield f"offer = {_text(_name(arm))}"
        if policy["unit"] == "profit":
            yield f"cost_per_contact = {float(cell['cost'])!r}"
    yield f"rationale = {_text(_evidence(cell, policy))}"


def _channel(cell: Mapping[str, Any], money: Money, before: Sequence[Rule]) -> str | None:
    """The channel of a cell's arm; None leaves that of the rules before.

    Where these may contact nobody, it is `AS_TESTED`. Which segments have more or less of a feature is
    not known here, so such a rule may or may not be for the cell.
    """
    known = None if cell["arm"] is None else money.channel(cell["arm"])
    if known is not None:
        return known
    channels: set[str] = set()
    for rule in before:
        here = (
            rule.segment in (None, cell["segment_id"], cell["segment_name"])
            and rule.band in (None, cell["band"])
            and rule.channel is not None
        )
        if here:
            is_certain = (rule.over, rule.under, rule.spender) == (None, None, None)
            channels = {str(rule.channel)} | (set() if is_certain else channels)
    return AS_TESTED if NO_CHANNEL in channels else None


def _rules_before(current: str, playbook: Path | None) -> list[Rule]:
    """The package's rules and those of the current playbook that stay."""
    rules = load_rules(playbook).rules
    own = len(tomllib.loads(current).get("rule", []))
    package = sum(not rule.place for rule in rules)
    return list(rules[: package + own])


def _evidence(cell: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    """What was measured, in at most `MAX_TEXT` characters."""
    found = cell["evidence"]
    if found is None:
        words = "too few users were tested here, so the effect in the band or on all users counts"
    else:
        users = (
            ""
            if found["users"] is None
            else f"{found['users']:,} users against {found['control_users']:,} control users: "
        )
        words = (
            f"{users}{_change(found['difference'], policy)} measured, "
            f"{_change(found['shrunken'], policy)} shrunken"
        )
    unit = f" {policy['currency']}" if policy["unit"] == "profit" else f" {policy['unit']}"
    return (
        f"Best contact “{_name(cell['best_arm'])}”: {words}; "
        f"gain {signed(1000 * cell['gain'], 1)}{unit} per 1,000 users"
    )


def _change(difference: float, policy: Mapping[str, Any]) -> str:
    if policy["outcome"] == "purchase":
        return f"{signed(100 * difference, 2)} points"
    return f"{signed(difference, 2)} a user"


def _name(text: str) -> str:
    """A name in a text, without the braces that texts of a playbook may use for placeholders."""
    return short(visible(text), _NAME).translate(_BRACES)


def _text(text: str) -> str:
    return json.dumps(short(text, MAX_TEXT), ensure_ascii=False)
