"""What `playbook.json` holds: one row for each segment and band.

What a row says of users, buyers, orders and tests is measured.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.bundle.evaluation import Evaluation, Json
from engine.bundle.manifest import BANDS, Manifest, Segment
from engine.bundle.playbook import NO_CHANNEL
from engine.errors import BundleError
from engine.format import shown_name
from training.playbook.plan import Measured, test_plans
from training.playbook.power import POWER, SIGNIFICANCE, detectable_lift, sample_size
from training.playbook.rules import (
    ROLES,
    SETTINGS,
    Economics,
    PlaybookRules,
    Rule,
    channels_of,
)

FIGURES = ("figures_of", "users", "expected_buyers", "sample_size", "detectable_lift")


@dataclass(frozen=True, slots=True)
class _Who:
    """A segment, as rules ask for it.

    Attributes:
        segment: Id and name.
        over: The features of which it has clearly more than the average user, and their roles.
        under: Those of which it has clearly less.
        spender: Whether it spends at least what the average user does.
    """

    segment: Segment
    over: Collection[str]
    under: Collection[str]
    spender: bool

    def matches(self, rule: Rule, band: str) -> bool:
        """Whether a rule is for this segment in this band."""
        return (
            rule.segment in (None, self.segment.id, self.segment.name)
            and rule.over in (None, *self.over)
            and rule.under in (None, *self.under)
            and rule.band in (None, band)
            and rule.spender in (None, self.spender)
        )


def playbook_document(
    rules: PlaybookRules, manifest: Manifest, evaluation: Evaluation, population: int
) -> dict[str, Any]:
    """What `playbook.json` holds: one row for each segment and band; plain JSON values.

    Args:
        rules: What to do.
        manifest: The schema, and the segments with their names.
        evaluation: The measured cells of segment and band, and the profiles of the segments.
        population: The users scored each night; the shares of the cells are applied to it.

    Raises:
        BundleError: A rule names a segment that does not exist.
    """
    _check_segments(rules.rules, manifest.segments)
    applied, economics = rules.rules, rules.economics
    usable = evaluation.segments["usable"]
    if not usable:
        applied = _without_segments(rules.rules)
    settings = {
        who.segment.id: {band: _settings(applied, who, band, economics) for band in BANDS}
        for who in _described(manifest, evaluation.fit.profiles)
    }
    money = {} if economics is None else {"economics": _money(economics, rules.currency)}
    return {
        "population": population,
        "currency": rules.currency,
        **money,
        "expected_buyers": (
            "users who are expected to buy within the horizon, contacted or not: an upper bound of "
            "what contacts can win, not what they win"
        ),
        "sample_size": (
            f"users of the cell, control group among them, for a power of {POWER:.0%} at a two-sided "
            f"significance of {SIGNIFICANCE:.0%}"
        ),
        "rows": _rows(
            manifest.segments, settings, evaluation.metrics, population, economics, usable
        ),
    }


def playbook_to_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of `playbook.json`."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _rows(
    segments: Sequence[Segment],
    settings: Mapping[int, Mapping[str, Mapping[str, Any]]],
    metrics: Json,
    population: int,
    economics: Economics | None,
    usable: bool,  # noqa: FBT001
) -> list[dict[str, Any]]:
    scale = population / metrics["rows"]
    measured: dict[int, list[Json]] = {segment.id: [] for segment in segments}
    for cell in metrics["cells"]:
        measured[cell["segment_id"]].append(cell)
    average = _average_order(metrics["cells"])
    rows = []
    for segment in segments:
        cells = {band: cell for cell in measured[segment.id] for band in cell["bands"]}
        # Where the score file names no segment, a test has all users of a band.
        tested = measured[segment.id] if usable else metrics["bands"]
        plans = test_plans([_run(cell, scale) for cell in tested], settings[segment.id])
        for band in BANDS:
            decided, cell = settings[segment.id][band], cells.get(band)
            order = {} if economics is None else {"order_value": _order(economics, cell, average)}
            rows.append(
                {"segment_id": segment.id, "segment_name": segment.name, "band": band}
                | {**decided, **_figures(cell, decided, scale), **order, **plans[band]}
            )
    return rows


def _money(economics: Economics, currency: str) -> dict[str, Any]:
    return {"currency": currency, **asdict(economics)}


def _run(cell: Json, scale: float) -> Measured:
    return Measured(tuple(cell["bands"]), round(cell["rows"] * scale), cell["purchase_rate"])


def _average_order(cells: Sequence[Json]) -> float | None:
    """The mean over all measured users whose value of an order is known; None if it was not measured."""
    known = [cell for cell in cells if cell.get("order_value") is not None]
    total = sum(cell["order_value_rows"] for cell in known)
    values = sum(cell["order_value_rows"] * cell["order_value"] for cell in known)
    return values / total if total else None


def _order(economics: Economics, cell: Json | None, average: float | None) -> float | None:
    """The value of an order in a cell; where too few users have one, that of all users."""
    if economics.order_value is not None:
        return economics.order_value
    own = None if cell is None else cell.get("order_value")
    value = average if own is None else own
    return None if value is None else round(value, 2)


def _settings(
    rules: Sequence[Rule], who: _Who, band: str, economics: Economics | None
) -> dict[str, Any]:
    """What the rules decide for one cell, with the words that their texts leave open."""
    found: dict[str, Any] = {}
    matching = [rule for rule in rules if who.matches(rule, band)]
    for rule in matching:
        given = {name: getattr(rule, name) for name in SETTINGS}
        found |= {name: value for name, value in given.items() if value is not None}
    own_cost = any(rule.place and rule.cost_per_contact is not None for rule in matching)
    if economics is not None and not own_cost and found["channel"] != NO_CHANNEL:
        costs = economics.cost_per_contact
        found["cost_per_contact"] = round(sum(costs[c] for c in channels_of(found["channel"])), 6)
    return _filled({name: found[name] for name in SETTINGS}, who.segment)


def _filled(settings: Mapping[str, Any], segment: Segment) -> dict[str, Any]:
    """Settings with the segment's name in all texts, the message and the offer in all others."""
    named = {"segment": shown_name(segment.name)}
    words = {name: _replaced(settings[name], named) for name in ("message", "offer")}
    texts = {
        name: _replaced(value, named | words)
        for name, value in settings.items()
        if isinstance(value, str)
    }
    return {**settings, **texts, **words}


def _replaced(text: str, words: Mapping[str, str]) -> str:
    # In one pass: a segment's name may hold anything.
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), text)


def _without_segments(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules without those of the package that depend on the segment.

    A user's own rules stay, as they name what their writer wants.
    """
    return tuple(rule for rule in rules if rule.place or not _asks_for_segments(rule))


def _asks_for_segments(rule: Rule) -> bool:
    texts = (getattr(rule, name) for name in SETTINGS)
    named = any("{segment}" in text for text in texts if isinstance(text, str))
    return named or (rule.over, rule.under, rule.spender) != (None, None, None)


def _figures(cell: Json | None, settings: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Users of the cell in the population, buyers to expect, and what a test can detect.

    Bands of few users were measured together; `figures_of` names them. All figures are None if the
    cell was not measured.
    """
    if cell is None:
        return dict.fromkeys(FIGURES)
    rate, share = cell["purchase_rate"], settings["control_share"]
    # If nobody is contacted, there is nothing to test.
    tested = settings["channel"] != NO_CHANNEL
    users = round(cell["rows"] * scale)
    return {
        "figures_of": cell["bands"],
        "users": users,
        "expected_buyers": round(users * cell["mean_probability"]),
        "sample_size": sample_size(rate, settings["lift_to_see"], share) if tested else None,
        "detectable_lift": detectable_lift(rate, users, share) if tested else None,
    }


def _described(manifest: Manifest, profiles: Mapping[int, Json]) -> Iterator[_Who]:
    rfm, spenders = manifest.schema.rfm, _spenders(manifest.segments, profiles)
    roles = {} if rfm is None else {name: getattr(rfm, field) for name, field in ROLES.items()}
    for segment in manifest.segments:
        over, under = (
            {entry["feature"] for entry in profiles[segment.id].get(side, ())}
            for side in ("over", "under")
        )
        yield _Who(
            segment,
            over | {role for role, feature in roles.items() if feature in over},
            under | {role for role, feature in roles.items() if feature in under},
            segment.id in spenders,
        )


def _spenders(segments: Sequence[Segment], profiles: Mapping[int, Json]) -> set[int]:
    """Segments that spend at least what the average user does; none if spend is unknown."""
    known = [(s, spend) for s in segments if (spend := profiles[s.id].get("spend")) is not None]
    total = sum(segment.share for segment, _ in known)
    if not total:
        return set()
    mean = sum(segment.share * spend for segment, spend in known) / total
    return {segment.id for segment, spend in known if spend >= mean}


def _check_segments(rules: Sequence[Rule], segments: Sequence[Segment]) -> None:
    known = {s.id for s in segments} | {s.name for s in segments} | {None}
    for rule in rules:
        if rule.segment not in known:
            raise BundleError(
                f"{rule.place}: no segment {rule.segment!r}; "
                f"there are {', '.join(f'{s.id} {s.name!r}' for s in segments)}. "
                "Name one of them, by id or by name."
            )
