"""Campaigns: the effect of each arm, which cells differ, and what the next playbook should do."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from engine.errors import pluralize
from engine.pages.blocks import Block, Bullets, Figure, Section, Text, table
from engine.pages.format import (
    BAND_WORDS,
    UNKNOWN,
    bands_words,
    count,
    decimal,
    listed,
    percent,
    signed,
    whole_percent,
)
from training.metrics.disclosure import MIN_USERS
from training.report.charts.effects import UNITS, effects_chart

Found = Mapping[str, Any]

MISMATCH = (
    "Sample-ratio mismatch: the sizes of the arms are not those of a random assignment "
    "(p < 0.001), so no difference is called an effect. Were users dropped from the log, sent to "
    "late, or assigned by something other than chance?"
)
MEANING = (
    "Users count in the arm to which they were assigned, whatever reached them. The outcome is that of "
    "the score from which they were chosen; later weeks do not count.",
    "Intervals are of each row alone. An effect in a band, segment or cell is called shown only if it "
    "remains after correction for all rows of its table (Holm, 5\u202f% together). Shrunken effects are "
    "drawn towards the effect on all users, in cells towards that in the band if it has several, the more "
    "the fewer users a row has: use these to decide.",
    f"Bands and segments with fewer than {MIN_USERS} users of an arm or of the control group are measured "
    "together with their neighbours, in a second row as well, so that they do not follow from totals.",
)
POLICY = (
    "What each policy does with a user was learned from other users, so its gain is not the luck by which "
    "it was chosen. Gains are per 1,000 users, over contacting nobody. In small campaigns the interval of "
    "a learned policy is somewhat too short."
)
LEVELS = {"bands": ("Band",), "segments": ("Segment",), "cells": ("Segment", "Band")}
PICTURE = (
    "Points: the measured effects, bold on all users, then by segment. Lines: their 95\u202f% intervals. "
    "One that crosses the dashed line shows no effect."
)


def campaign_sections(report: Found) -> list[Section]:
    """The campaigns of a backtest as sections, and one on the policy; none without contact logs."""
    if "campaigns" not in report:
        return []
    policy = report["policy"]
    return [
        Section("contacts", "Contacts", [Bullets(tuple(_counts(report)))]),
        *(
            Section(f"campaign-{n}", f"Campaign {found['campaign']}", _campaign(found, n))
            for n, found in enumerate(report["campaigns"], start=1)
        ),
        *(
            [Section("policy", "What the next playbook should do", _policy(policy))]
            if policy
            else []
        ),
    ]


def _counts(report: Found) -> Iterator[str]:
    contacts, left_out = report["contacts"], report["campaigns_left_out"]
    yield f"{contacts['rows']:,} usable rows in the contact logs."
    for what, number in contacts["caught"].items():
        yield f"{what[:1].upper()}{what[1:]}: {_few(number)}."
    if left_out:
        yield (
            f"Campaigns left out, with fewer than {MIN_USERS} users with an outcome in each arm or in the "
            f"control group: {listed(left_out)}."
        )


def _campaign(found: Found, number: int) -> list[Block]:
    ratio = found["ratio"]
    blocks: list[Block] = [Text(_summary(found))]
    if ratio["alarm"]:
        blocks.append(Text(MISMATCH, strong=True))
    elif ratio["tests"]:
        blocks.append(Text("The arms have the sizes of a random assignment:"))
    blocks.append(Bullets(tuple(_ratio(test) for test in ratio["tests"])))
    for outcome, arms in found["outcomes"].items():
        picture = partial(effects_chart, outcome, arms, f"effects-{number}-{outcome}")
        blocks += [*_whole(outcome, arms), Figure(picture, PICTURE), *_parts(outcome, arms)]
    if found["arms_left_out"]:
        blocks.append(
            Text(
                f"Left out: {pluralize(found['arms_left_out'], 'arm')} with fewer than {MIN_USERS} users "
                "with an outcome in it or in the control group."
            )
        )
    return [*blocks, *(Text(words) for words in MEANING)]


def _summary(found: Found) -> str:
    words = f"{count(found['users'])} users with an outcome"
    if found["without_outcome"] != 0:
        words += f", {_few(found['without_outcome'])} without"
    if found["snapshots"]:
        words += f"; scores and outcomes of {_span(found['snapshots'])}"
    return f"{words}."


def _few(number: int | None) -> str:
    return f"fewer than {MIN_USERS}" if number is None else count(number)


def _span(dates: Sequence[str]) -> str:
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def _ratio(test: Found) -> str:
    return (
        f"{test['test'].capitalize()}: chi-square {decimal(test['chi_square'], 1)} with "
        f"{pluralize(test['degrees'], 'degree')} of freedom, p {_p(test['p_value'])}."
    )


_WHOLE = (
    *("Arm", "Users", "Mean", "Control users", "Mean", "Difference", "95\u202f% interval"),
    *("Lift", "Detectable lift"),
)
_PARTS = (
    *("Users", "Control users", "Mean", "Difference", "95\u202f% interval"),
    *("Shrunken", "Shown"),
)


def _whole(outcome: str, arms: Sequence[Found]) -> list[Block]:
    """The effect of each arm on all users, in words and figures."""
    rows = [
        (
            *(arm["arm"], count(arm["users"]), _mean(outcome, arm["mean"])),
            *(count(arm["control_users"]), _mean(outcome, arm["control_mean"])),
            *(_change(outcome, arm["difference"]), _interval(outcome, arm["interval"])),
            *(_lift(arm["lift"]), _lift(arm["detectable_lift"])),
        )
        for arm in arms
    ]
    return [
        *(Text(_verdict(outcome, arm), strong=True) for arm in arms),
        table(f"{outcome.capitalize()}: each arm against the control group", _WHOLE, rows),
    ]


def _parts(outcome: str, arms: Sequence[Found]) -> Iterator[Block]:
    """Tables by band, segment and cell; one that has the row of all users alone is left out."""
    for level, labels in LEVELS.items():
        rows = [
            (
                *(arm["arm"], *_labels(row), count(row["users"]), count(row["control_users"])),
                *(_mean(outcome, row["control_mean"]), _change(outcome, row["difference"])),
                *(_interval(outcome, row["interval"]), _change(outcome, row["shrunken"])),
                "yes" if row["shown"] else "no",
            )
            for arm in arms
            for row in arm[level]["rows"]
        ]
        if len(rows) > len(arms):
            yield table(
                f"{outcome.capitalize()} by {' and '.join(labels).lower()}",
                ("Arm", *labels, *_PARTS),
                rows,
                range(1 + len(labels)),
            )
        left_out = sum(arm[level]["left_out"] for arm in arms)
        if left_out:
            yield Text(
                f"Left out: {pluralize(left_out, 'row')} without users of the arm or of the control group."
            )


def _verdict(outcome: str, arm: Found) -> str:
    verdict = "an effect is shown" if arm["shown"] else "no effect is shown"
    rows = arm["cells"]["rows"]
    return (
        f"{arm['arm']}: {_change(outcome, arm['difference'])} {UNITS[outcome]} "
        f"(95\u202f% {_interval(outcome, arm['interval'])}): {verdict}. Cells that show one of their own: "
        f"{sum(row['shown'] for row in rows)} of {len(rows)}."
    )


def _labels(row: Found) -> tuple[str, ...]:
    words = (" or ".join(row["segment_names"]),) if "segment_names" in row else ()
    return (*words, bands_words(row["bands"])) if "bands" in row else words


def _mean(outcome: str, mean: float) -> str:
    return percent(mean, 2) if outcome == "purchase" else decimal(mean, 2)


def _change(outcome: str, difference: float) -> str:
    return signed(100 * difference if outcome == "purchase" else difference, 2)


def _interval(outcome: str, ends: Sequence[float] | None) -> str:
    return (
        UNKNOWN if ends is None else f"{_change(outcome, ends[0])} to {_change(outcome, ends[1])}"
    )


def _lift(share: float | None) -> str:
    return UNKNOWN if share is None else f"{signed(100 * share, 0)}\u202f%"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {decimal(value, 3)}"


_POLICIES = (
    *("Policy", "Contacted", "Gain", "95\u202f% interval"),
    *("Playbook gains more", "95\u202f% interval"),
)


def _policy(policy: Found) -> list[Block]:
    unit = f"{policy['unit']} {'in ' + policy['currency'] if policy['currency'] else ''}".rstrip()
    cells = [
        (
            *(cell["segment_name"], BAND_WORDS[cell["band"]], count(cell["users"])),
            *(cell["arm"] or "nobody", signed(1000 * cell["gain"], 1)),
        )
        for cell in policy["cells"]
    ]
    header = ("Segment", "Band", "Users", "Contact with", "Gain of the best arm")
    recommended = table(f"Recommended, {unit} per 1,000 users", header, cells, (0, 1, 3))
    found = {each["policy"]: each for each in policy["policies"]}
    if not found:
        return [recommended, Text("No campaign had all arms, so policies cannot be compared.")]
    rows = [
        (
            *(name, whole_percent(each["contacted"])),
            *(*_gain(each["gain"]), *_gain(each["playbook_minus"])),
        )
        for name, each in found.items()
    ]
    caption = f"Policies on users that did not choose them, {unit} per 1,000 users"
    advice = Text(_advice(found, unit), strong=True)
    return [advice, recommended, table(caption, _POLICIES, rows), Text(POLICY)]


def _advice(policies: Mapping[str, Found], unit: str) -> str:
    """What the recommended playbook gains, and whether simpler policies would do as well."""
    best = policies["best arm to everybody"]["playbook_minus"]
    gain, reach = _gain(policies["playbook"]["gain"])
    more, ends = _gain(best)
    shown = "is shown" if best["interval"][0] > 0 else "is not shown"
    return (
        f"The recommended playbook gains {gain} {unit} per 1,000 users over contacting nobody "
        f"(95\u202f% {reach}). It {shown} to gain more than the best arm to everybody "
        f"({more}, 95\u202f% {ends})."
    )


def _gain(found: Found) -> tuple[str, str]:
    low, high = (signed(1000 * end, 1) for end in found["interval"])
    return signed(1000 * found["value"], 1), f"{low} to {high}"
