"""The rules of a playbook, read from TOML.

The package's own rules come first, those of a user's file after them; a later rule overrides an
earlier one field by field.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from engine.bundle.documents import read_toml
from engine.bundle.manifest import BANDS
from engine.bundle.playbook import MAX_CONTROL_SHARE
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError, pluralize, quoted

MAX_TEXT = 300
"""Characters of a text in a rule; the action is repeated in every row of the scores."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do in the cells that it names; a field that is None is left to earlier rules.

    Attributes:
        place: File and number of the rule, for messages; "" for the package's own.
        segment: The id or the name of a segment; None is every one.
        over: A feature of which the segment has clearly more than the average user; None is no
            condition.
        band: A propensity band; None is every one.
        spender: Whether the rule is for segments that spend at least what the average user does,
            or for the others; None is both.
        action: What to do, for marketing.
        channel: Where; "none" contacts nobody.
        offer: What is offered, or "none".
        rationale: Why this may work.
        cost_per_contact: In the playbook's currency.
        control_share: The share of users who are not contacted, for comparison.
        lift_to_see: The effect that a test should be able to see, as a share of the purchase rate.
        measure: What is compared with what.
        window_days: How long after a contact purchases count.
        stop_rule: When to stop.
        owner: The role that is responsible for it.
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
SETTINGS = tuple(f.name for f in fields(Rule) if f.name not in _CONDITIONS)
"""What a rule decides."""


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
        BundleError: The file is missing, is no TOML, or has invalid rules.
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
    """The rules as plain values, without the paths of their files."""
    return asdict(replace(rules, rules=tuple(replace(rule, place="") for rule in rules.rules)))


def check_features(rules: PlaybookRules, schema: FeatureSchema) -> None:
    """Check that a user's rules name features of the table.

    The package's own rules may name others, because they are made for any table.

    Raises:
        BundleError: A rule names a feature that the models do not have.
    """
    known = [feature.name for feature in schema.model_features]
    for rule in rules.rules:
        if rule.place and rule.over is not None and rule.over not in known:
            near = get_close_matches(rule.over, known, 1)
            raise BundleError(
                f"{rule.place}: no feature {rule.over!r} in schema {schema.name!r}; "
                f"{f'did you mean {near[0]!r}?' if near else f'it has {quoted(known)}.'}"
            )


def _read(path: Path) -> dict[str, Any]:
    document = read_toml(path, absent="no such playbook. Give one with --playbook.")
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
        return [*problems, "rules must be written as [[rule]]"]
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
    unknown = sorted(set(rule) - set(_VALUES))
    problems = [f"unknown keys {quoted(unknown)}"] if unknown else []
    return problems + [
        f"{name} must be {expected}, found {_in_short(rule[name])}"
        for name, (is_valid, expected) in _VALUES.items()
        if name in rule and not is_valid(rule[name])
    ]


def _in_short(value: object) -> str:
    """A value in a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}… ({len(text):,} characters)"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _between(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and bool(low <= value <= high)


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "segment": (lambda value: type(value) in (int, str), "an id or a name"),
    "band": (lambda value: value in BANDS, f"one of {quoted(BANDS)}"),
    "spender": (lambda value: type(value) is bool, "true or false"),
    **dict.fromkeys(
        ("over", "action", "channel", "offer", "rationale", "measure", "stop_rule", "owner"),
        (_is_text, f"a text of 1 to {MAX_TEXT} characters"),
    ),
    "cost_per_contact": (_between(0, 1e9), "from 0 to 1,000,000,000"),
    "control_share": (_between(0, MAX_CONTROL_SHARE), f"from 0 to {MAX_CONTROL_SHARE}"),
    "lift_to_see": (_between(0.001, 100), "a lift from 0.001 to 100"),
    "window_days": (
        lambda value: type(value) is int and 1 <= value <= 365,
        "a whole number from 1 to 365",
    ),
}
"""For each key of a rule: whether a value is valid, and what is expected."""
