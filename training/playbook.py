"""The playbook of a bundle: from rules in TOML to one row for each segment and band.

The package's own rules come first, those of a user's file after them; a later rule overrides an
earlier one field by field. What a row says of users, buyers and sample sizes is measured.
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from statistics import NormalDist
from typing import Any

from engine.bundle.evaluation import Evaluation, Json
from engine.bundle.files import read_configuration
from engine.bundle.manifest import BANDS, Segment
from engine.bundle.playbook import MAX_CONTROL_SHARE
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError, pluralize, quoted

POWER = 0.80
SIGNIFICANCE = 0.05
MAX_TEXT = 300
"""Characters of a text in a rule; the action stands in every row of the scores."""

NO_CHANNEL = "none"
"""The channel of a cell whose users are not contacted."""

CellFigures = Mapping[str, Any]
"""What was measured of a segment and its `bands`: `rows`, `purchase_rate`, `mean_probability`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do in the cells that it names; a field that is None is left to earlier rules.

    Attributes:
        place: Where the rule stands, for messages; "" for the package's own.
        segment: The id or the name of a segment; None is every one.
        over: A feature of which the segment has clearly more than the average user (its profile
            lists it); None is no condition.
        band: A propensity band; None is every one.
        spender: Whether the rule is for segments that spend at least what the average user does,
            or for the others; None is both.
        action: What to do, for marketing.
        channel: Where; "none" contacts nobody.
        offer: What is offered, or "none".
        rationale: Why this may work.
        cost_per_contact: In the playbook's currency.
        control_share: The share of users who are left out to measure.
        lift_to_see: The effect that a test should be able to see, as a share of the purchase rate.
        measure: What is compared with what.
        window_days: How long after a contact purchases count.
        stop_rule: When to stop.
        owner: The role that answers for it.
    """

    place: str = ""
    segment: int | str | None = None
    over: str | None = None
    band: str | None = None
    spender: bool | None = None
    action: str | None = None
    channel: str | None = None
    offer: str | None = None
    rationale: str | None = None
    cost_per_contact: float | None = None
    control_share: float | None = None
    lift_to_see: float | None = None
    measure: str | None = None
    window_days: int | None = None
    stop_rule: str | None = None
    owner: str | None = None


_CONDITIONS = ("place", "segment", "over", "band", "spender")
_TEXTS = ("over", "action", "channel", "offer", "rationale", "measure", "stop_rule", "owner")
_SETTINGS = tuple(f.name for f in fields(Rule) if f.name not in _CONDITIONS)
_KEYS = frozenset(f.name for f in fields(Rule)) - {"place"}


@dataclass(frozen=True, slots=True)
class PlaybookRules:
    """Rules in the order in which they are applied.

    Attributes:
        rules: Each overrides those before it.
        band_shares: The shares of users below the cut-points of the bands.
        currency: Of all costs.
    """

    rules: tuple[Rule, ...]
    band_shares: tuple[float, ...]
    currency: str


def load_rules(path: Path | None = None) -> PlaybookRules:
    """The package's rules, and after them those of a user's file.

    Raises:
        BundleError: The file is missing, is no TOML, or holds something that is no rule.
    """
    default = Path(str(files("training") / "playbooks" / "default.toml"))
    rules = _read(default)
    own = {} if path is None else _read(path)
    merged = rules | own
    return PlaybookRules(
        rules=(
            *(Rule(**rule) for rule in rules["rule"]),
            *(
                Rule(place=f"{path}: rule {number}", **rule)
                for number, rule in enumerate(own.get("rule", []), start=1)
            ),
        ),
        band_shares=tuple(merged["bands"]["shares"]),
        currency=merged["currency"],
    )


def rules_document(rules: PlaybookRules) -> dict[str, Any]:
    """The rules as plain values; where a file lies is no part of what it says."""
    return asdict(replace(rules, rules=tuple(replace(rule, place="") for rule in rules.rules)))


def playbook_document(
    rules: PlaybookRules, segments: Sequence[Segment], evaluation: Evaluation, population: int
) -> dict[str, Any]:
    """What `playbook.json` holds: one row for each segment and band; plain JSON values.

    Args:
        rules: What to do.
        segments: With their names.
        evaluation: The measured cells of segment and band, and the profiles of the segments.
        population: The users of a night; the cells' shares are applied to it.

    Raises:
        BundleError: A rule names a segment that does not exist.
    """
    _check_segments(rules.rules, segments)
    metrics, profiles = evaluation.metrics, evaluation.fit.profiles
    measured = {
        (cell["segment_id"], band): cell for cell in metrics["cells"] for band in cell["bands"]
    }
    scale = population / metrics["rows"]
    spenders = _spenders(segments, profiles)
    return {
        "population": population,
        "currency": rules.currency,
        "expected_buyers": (
            "users who are expected to buy within the horizon, contacted or not: an upper bound of "
            "what contacts can win, not what they win"
        ),
        "sample_size": (
            f"users of the cell, control group among them, for a power of {POWER:.0%} at a two-sided "
            f"significance of {SIGNIFICANCE:.0%}"
        ),
        "rows": [
            {
                "segment_id": segment.id,
                "segment_name": segment.name,
                "band": band,
                **(
                    settings := _settings(
                        rules.rules, segment, profiles[segment.id], band, spenders
                    )
                ),
                **_figures(measured.get((segment.id, band)), settings, scale),
            }
            for segment in segments
            for band in BANDS
        ],
    }


def playbook_to_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of `playbook.json`."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sample_size(rate: float, relative_lift: float, control_share: float) -> int | None:
    """Users needed, control group among them, to see a lift of a purchase rate.

    The test of two proportions with unequal groups (Fleiss, Levin & Paik, Statistical Methods for
    Rates and Proportions, 2003, chapter 4, without continuity correction).

    Args:
        rate: Of the control group.
        relative_lift: Of the contacted, as a share of `rate`.
        control_share: The control group's share of the users.

    Returns:
        None where no number of users is enough: without a control group, at a rate of 0, or where
        the lifted rate would exceed 1.
    """
    lifted = rate * (1 + relative_lift)
    if not 0 < control_share < 1 or not rate < lifted <= 1:
        return None
    ratio = (1 - control_share) / control_share
    mean = (rate + ratio * lifted) / (1 + ratio)
    normal = NormalDist()
    noise = normal.inv_cdf(1 - SIGNIFICANCE / 2) * math.sqrt((ratio + 1) * mean * (1 - mean))
    signal = normal.inv_cdf(POWER) * math.sqrt(ratio * rate * (1 - rate) + lifted * (1 - lifted))
    control = (noise + signal) ** 2 / (ratio * (lifted - rate) ** 2)
    return math.ceil(control * (1 + ratio))


def detectable_lift(rate: float, users: int, control_share: float) -> float | None:
    """The smallest relative lift that so many users are enough to see, to three decimals.

    None where even the lift to a rate of 1 cannot be seen.
    """

    def enough(lift: float) -> bool:
        needed = sample_size(rate, lift, control_share)
        return needed is not None and needed <= users

    if rate <= 0:
        return None
    low, high = 0.0, 1 / rate - 1
    if not enough(high):
        return None
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return round(high, 3)


def _settings(
    rules: Sequence[Rule], segment: Segment, profile: Json, band: str, spenders: Set[int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    over = [entry["feature"] for entry in profile["over"]]
    for rule in rules:
        if (
            rule.segment in (None, segment.id, segment.name)
            and rule.over in (None, *over)
            and rule.band in (None, band)
            and rule.spender in (None, segment.id in spenders)
        ):
            given = {name: getattr(rule, name) for name in _SETTINGS}
            found |= {name: value for name, value in given.items() if value is not None}
    return {name: found[name] for name in _SETTINGS}


def _figures(cell: CellFigures | None, settings: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Users of the cell in the population, buyers to expect, and what a test can detect.

    Bands of few users were measured together: `figures_of` names all bands that the figures are of.
    """
    if cell is None or cell["purchase_rate"] is None:
        names = ("figures_of", "users", "expected_buyers", "sample_size", "detectable_lift")
        return dict.fromkeys(names)
    rate, share = cell["purchase_rate"], settings["control_share"]
    # Where nobody is contacted there is nothing to test.
    tested = settings["channel"] != NO_CHANNEL
    users = round(cell["rows"] * scale)
    return {
        "figures_of": cell["bands"],
        "users": users,
        "expected_buyers": round(users * cell["mean_probability"]),
        "sample_size": sample_size(rate, settings["lift_to_see"], share) if tested else None,
        "detectable_lift": detectable_lift(rate, users, share) if tested else None,
    }


def _spenders(segments: Sequence[Segment], profiles: Mapping[int, Json]) -> set[int]:
    """Segments that spend at least what the average user does; none where spend is not known."""
    shares = {s.id: s.share for s in segments}
    found = {number: profiles[number].get("spend") for number in shares}
    spend: dict[int, float] = {n: value for n, value in found.items() if value is not None}
    total = sum(shares[number] for number in spend)
    if not total:
        return set()
    mean = sum(shares[number] * value for number, value in spend.items()) / total
    return {number for number, value in spend.items() if value >= mean}


def check_features(rules: PlaybookRules, schema: FeatureSchema) -> None:
    """Check that the rules of a user name features of the table.

    The package's own may name others: they are made for any table, and never apply there.

    Raises:
        BundleError: One names a feature that the models do not have.
    """
    known = [feature.name for feature in schema.model_features]
    for rule in rules.rules:
        if rule.place and rule.over is not None and rule.over not in known:
            near = get_close_matches(rule.over, known, 1)
            raise BundleError(
                f"{rule.place}: no feature {rule.over!r} in schema {schema.name!r}; "
                f"{f'did you mean {near[0]!r}?' if near else f'it has {quoted(known)}.'}"
            )


def _check_segments(rules: Sequence[Rule], segments: Sequence[Segment]) -> None:
    known = {s.id for s in segments} | {s.name for s in segments} | {None}
    for rule in rules:
        if rule.segment not in known:
            raise BundleError(
                f"{rule.place}: no segment {rule.segment!r}; "
                f"there are {', '.join(f'{s.id} {s.name!r}' for s in segments)}. "
                "Name one of them, by id or by name."
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(read_configuration(path))
    except FileNotFoundError:
        raise BundleError(f"{path}: no such playbook. Give one with --playbook.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not a readable TOML file: {error}.") from error
    problems = _problems(document)
    if problems:
        raise BundleError(
            f"{path}: {pluralize(len(problems), 'mistake')} in the playbook: {'; '.join(problems)}."
        )
    return document


def _problems(document: Mapping[str, Any]) -> list[str]:
    unknown = sorted(set(document) - {"currency", "bands", "rule"})
    problems = [f"unknown keys {quoted(unknown)}"] if unknown else []
    if not isinstance(document.get("currency", ""), str):
        problems.append(f"'currency' must be a text, found {document['currency']!r}")
    problems += _band_problems(document.get("bands", {"shares": [0.1, 0.2, 0.3]}))
    rules = document.get("rule", [])
    if not (isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules)):
        return [*problems, "rules must stand as [[rule]]"]
    for number, rule in enumerate(rules, start=1):
        problems += [f"rule {number}: {problem}" for problem in _rule_problems(rule)]
    return problems


def _band_problems(bands: object) -> list[str]:
    shares = bands.get("shares") if isinstance(bands, Mapping) else None
    valid = (
        isinstance(bands, Mapping)
        and set(bands) == {"shares"}
        and isinstance(shares, list)
        and len(shares) == len(BANDS) - 1
        and all(type(share) in (int, float) and 0 < share < 1 for share in shares)
        and sorted(set(shares)) == shares
    )
    if valid:
        return []
    return [
        f"[bands] needs shares = {len(BANDS) - 1} rising numbers between 0 and 1, found {bands!r}"
    ]


def _rule_problems(rule: Mapping[str, Any]) -> list[str]:
    unknown = sorted(set(rule) - _KEYS)
    problems = [f"unknown keys {quoted(unknown)}"] if unknown else []
    if rule.get("band", BANDS[0]) not in BANDS:
        problems.append(f"band must be one of {quoted(BANDS)}, found {rule['band']!r}")
    if "segment" in rule and type(rule["segment"]) not in (int, str):
        problems.append(f"segment must be an id or a name, found {rule['segment']!r}")
    if type(rule.get("spender", True)) is not bool:
        problems.append(f"spender must be true or false, found {rule['spender']!r}")
    problems += [
        f"{name} must be a text of 1 to {MAX_TEXT} characters, found {_in_short(rule[name])}"
        for name in _TEXTS
        if name in rule and not (isinstance(rule[name], str) and 0 < len(rule[name]) <= MAX_TEXT)
    ]
    problems += [
        f"{name} must be {words}, found {rule[name]!r}"
        for name, (low, high, words) in _RANGES.items()
        if name in rule and not (type(rule[name]) in (int, float) and low <= rule[name] <= high)
    ]
    if "window_days" in rule and type(rule["window_days"]) is not int:
        problems.append(f"window_days must be a whole number, found {rule['window_days']!r}")
    return problems


def _in_short(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}… ({len(text):,} characters)"


_RANGES = {
    "cost_per_contact": (0.0, 1e9, "from 0 to 1,000,000,000"),
    "control_share": (0.0, MAX_CONTROL_SHARE, f"from 0 to {MAX_CONTROL_SHARE}"),
    "lift_to_see": (0.001, 100.0, "a lift from 0.001 to 100"),
    "window_days": (1, 365, "from 1 to 365 days"),
}
