"""The rules of a playbook, read from TOML.

The package's own rules come first, those of a user's file after them; a later rule overrides an
earlier one field by field.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from engine.bundle.documents import read_toml
from engine.bundle.manifest import BANDS
from engine.bundle.playbook import MAX_CONTROL_SHARE, MAX_MONEY, NO_CHANNEL
from engine.bundle.schema import FeatureSchema, Rfm
from engine.errors import BundleError, pluralize, quoted

MAX_TEXT = 300
"""Characters of a text in a rule; the action is repeated in every row of the scores."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do in the cells that it names; a field that is None is left to earlier rules.

    Attributes:
        place: File and number of the rule, for messages; "" for the package's own.
        segment: The id or the name of a segment; None is every one.
        over: A feature of which the segment has clearly more than the average user, or one of
            `ROLES`; None is no condition.
        under: One of which it has clearly less.
        band: A propensity band; None is every one.
        spender: Whether the rule is for segments that spend at least what the average user does,
            or for the others; None is both.
        message: What to say. Every text may have the placeholder `{segment}`, the segment's name.
        offer: What is offered, or "none".
        action: What to do, for marketing. Like every further text it may have `{message}` and `{offer}`.
        channel: Where, several separated by commas; "none" contacts nobody.
        rationale: Why this may work.
        cost_per_contact: In the playbook's currency, instead of the costs of its channels.
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
    under: str | None = None
    band: str | None = None
    spender: bool | None = None
    message: str | None = None
    offer: str | None = None
    action: str | None = None
    channel: str | None = None
    rationale: str | None = None
    cost_per_contact: float | None = None
    control_share: float | None = None
    lift_to_see: float | None = None
    measure: str | None = None
    window_days: int | None = None
    stop_rule: str | None = None
    owner: str | None = None


ROLES = {f"rfm.{f.name}": f.name for f in fields(Rfm)}
"""Names that stand for the features in `[rfm]` of the schema: a rule for any table."""

_CONDITIONS = ("place", "segment", "over", "under", "band", "spender")
SETTINGS = tuple(f.name for f in fields(Rule) if f.name not in _CONDITIONS)
"""What a rule decides."""


@dataclass(frozen=True, slots=True)
class Economics:
    """What an order brings and what a contact costs.

    Attributes:
        margin: The share of an order's value that is left after its own costs.
        order_value: The value of an order, in the playbook's currency; None if a feature has it.
        order_value_feature: The feature that holds each user's value of an order.
        cost_per_contact: By channel.
    """

    margin: float
    order_value: float | None
    order_value_feature: str | None
    cost_per_contact: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PlaybookRules:
    """Rules in the order in which they are applied.

    Attributes:
        rules: Each overrides those before it.
        band_shares: The shares of users below the cut-points of the bands.
        currency: Of all costs.
        economics: None if nobody gave any: then nothing is said about money.
    """

    rules: tuple[Rule, ...]
    band_shares: tuple[float, ...]
    currency: str
    economics: Economics | None = None


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
        economics=_economics(own["economics"]) if "economics" in own else None,
    )


def channels_of(channel: str) -> list[str]:
    """The channels that a rule names."""
    return [name.strip() for name in channel.split(",")]


def _economics(given: Mapping[str, Any]) -> Economics:
    value = given["order_value"]
    is_feature = isinstance(value, str)
    return Economics(
        margin=given["margin"],
        order_value=None if is_feature else value,
        order_value_feature=value if is_feature else None,
        cost_per_contact=given["cost_per_contact"],
    )


def rules_document(rules: PlaybookRules) -> dict[str, Any]:
    """The rules as plain values, without the paths of their files."""
    return asdict(replace(rules, rules=tuple(replace(rule, place="") for rule in rules.rules)))


def check_features(rules: PlaybookRules, schema: FeatureSchema) -> None:
    """Check that a user's rules name features of the table, and that its economics fit the rules.

    The package's own rules may name other features, because they are made for any table.

    Raises:
        BundleError: A rule names a feature that the models do not have, the value of an order is no
            numeric feature, or a channel in use has no cost.
    """
    roles = list(ROLES) if schema.rfm else []
    for rule in rules.rules:
        for name in (rule.over, rule.under):
            if rule.place and name is not None:
                known = [*roles, *(feature.name for feature in schema.model_features)]
                _check_name(rule.place, "feature", name, known, f"in schema {schema.name!r}")
    if rules.economics is not None:
        _check_economics(rules.economics, rules.rules, schema)


def _check_economics(economics: Economics, rules: Sequence[Rule], schema: FeatureSchema) -> None:
    place = "playbook: [economics]"
    if (value := economics.order_value_feature) is not None:
        numeric = [feature.name for feature in schema.features if feature.kind == "numeric"]
        _check_name(f"{place}: order_value", "numeric feature", value, numeric, "in the schema")
    named = [(rule, channels_of(rule.channel)) for rule in rules if rule.channel is not None]
    used = sorted({name for _, channels in named for name in channels} - {NO_CHANNEL})
    priced = {
        name
        for rule, channels in named
        if rule.place and rule.cost_per_contact is not None
        for name in channels
    }
    if missing := [name for name in used if name not in {*economics.cost_per_contact, *priced}]:
        raise BundleError(
            f"{place}: no cost_per_contact of {pluralize(len(missing), 'channel')} that rules use: "
            f"{quoted(missing)}. Add them, 0 for those that cost nothing."
        )


def _check_name(place: str, kind: str, name: str, known: list[str], where: str) -> None:
    if name not in known:
        near = get_close_matches(name, known, 1)
        raise BundleError(
            f"{place}: no {kind} {name!r} {where}; "
            f"{f'did you mean {near[0]!r}?' if near else f'there are {quoted(known)}.'}"
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
    unknown = sorted(set(document) - {"currency", "bands", "economics", "rule"})
    problems = [f"unknown keys {quoted(unknown)}"] if unknown else []
    if not isinstance(document.get("currency", ""), str):
        problems.append(f"'currency' must be a text, found {document['currency']!r}")
    problems += _band_problems(document.get("bands", {"shares": [0.1, 0.2, 0.3]}))
    if "economics" in document:
        problems += [f"[economics]: {text}" for text in _economics_problems(document["economics"])]
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


def _economics_problems(economics: object) -> Iterator[str]:
    if not isinstance(economics, Mapping):
        yield f"it must be a table, found {_in_short(economics)}"
        return
    names = ("margin", "order_value", "cost_per_contact")
    if unknown := sorted(set(economics) - set(names)):
        yield f"unknown keys {quoted(unknown)}"
    if absent := [name for name in names if name not in economics]:
        yield f"{quoted(absent)} must be given"
    margin, value = economics.get("margin", 0.5), economics.get("order_value", 1)
    if not _between(0, 1)(margin):
        yield f"margin must be a share from 0 to 1, found {_in_short(margin)}"
    if not (_is_text(value) or _between(0, MAX_MONEY)(value)):
        yield (
            f"order_value must be a value from 0 to {MAX_MONEY:,} or the name of a feature, "
            f"found {_in_short(value)}"
        )
    costs = economics.get("cost_per_contact", {})
    if not isinstance(costs, Mapping):
        yield f"cost_per_contact must be a table of channels, found {_in_short(costs)}"
        return
    for channel, cost in costs.items():
        if not _between(0, MAX_MONEY)(cost):
            yield (
                f"cost_per_contact of {_in_short(channel)} must be from 0 to {MAX_MONEY:,}, "
                f"found {_in_short(cost)}"
            )


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
        (
            *("over", "under", "message", "offer", "action", "channel"),
            *("rationale", "measure", "stop_rule", "owner"),
        ),
        (_is_text, f"a text of 1 to {MAX_TEXT} characters"),
    ),
    "cost_per_contact": (_between(0, MAX_MONEY), f"from 0 to {MAX_MONEY:,}"),
    "control_share": (_between(0, MAX_CONTROL_SHARE), f"from 0 to {MAX_CONTROL_SHARE}"),
    "lift_to_see": (_between(0.001, 100), "a lift from 0.001 to 100"),
    "window_days": (
        lambda value: type(value) is int and 1 <= value <= 365,
        "a whole number from 1 to 365",
    ),
}
"""For each key of a rule: whether a value is valid, and what is expected."""
