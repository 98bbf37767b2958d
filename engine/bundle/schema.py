"""The table that a bundle scores, as a value: columns, kinds, ranges and what missing means."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from engine.bundle.documents import read_toml
from engine.errors import BundleError, pluralize, quoted

MAX_HORIZON_DAYS = 3_660
MAX_FEATURES = 10_000
MISTAKES_SHOWN = 20

_LATER_KEYS = ("phrases", "number", "at_least")
"""Keys of a feature that schemas of earlier bundles do not have."""

Kind = Literal["numeric", "categorical"]
Missing = Literal["never", "allowed"]
NumberFormat = Literal["plain", "whole", "percent"]
PHRASE_LENGTH = 80
"""The most characters of a phrase."""
VALUE = "{}"
"""Where a phrase has the value."""

# Columns and tensors that the engine creates. Input columns cannot have these names: they would collide
# in the score file, the quarantine or a graph.
_RESERVED_NAMES = frozenset(
    (
        *("row", "purchase_probability", "will_purchase", "propensity_decile", "propensity_band"),
        *("segment_id", "segment_name", "base_value", "action", "in_control_group", "bundle_id"),
        *("chunk_row", "source_file", "source_row", "reasons", "true_probability"),
        *("features", "margin", "probability", "segment", "distances"),
        *("impacts", "driver_index", "driver_impact"),
    )
)
_RESERVED_PATTERN = re.compile(r"impact_.*|driver_\d+(_impact)?|reason_\d+")


@dataclass(frozen=True, slots=True)
class Phrases:
    """How people say a value of a feature; "" where the label and the unit give the phrase.

    Attributes:
        value: With `{}` for the value: "{} sessions in the last 7 days".
        one: For the number 1.
        zero: For the number 0.
        missing: For a missing value.
    """

    value: str = ""
    one: str = ""
    zero: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column that the models may read.

    `min` and `max` bound a numeric feature, inclusively. `ordered` says that the order of `values` is
    meaningful. `use = False` keeps the column out of the models. `high` and `low` describe users with
    much or little of it, such as "frequent buyers" and "rare buyers". Segments are formed from the
    features with such words, and named by them. `missing_texts` are texts that mean "missing", besides
    those of the whole table. `phrases` and `number` say how the value is put into words: as a plain number,
    a whole one, or a percentage; "" leaves it to the unit. `at_least` names a numeric feature that is
    never larger in the same row: the what-if page says when values contradict each other, and scoring
    does not look at it.
    """

    name: str
    kind: Kind
    group: str = ""
    unit: str = ""
    min: float | None = None
    max: float | None = None
    missing: Missing = "allowed"
    use: bool = True
    ordered: bool = False
    values: tuple[str, ...] = ()
    label: str = ""
    high: str = ""
    low: str = ""
    missing_texts: tuple[str, ...] = ()
    phrases: Phrases | None = None
    number: NumberFormat | Literal[""] = ""
    at_least: str = ""

    @property
    def number_format(self) -> NumberFormat:
        """How people say a number of this feature; shares of a whole are percentages."""
        is_share = (self.unit, self.min, self.max) == ("share", 0, 1)
        return self.number or ("percent" if is_share else "plain")

    @property
    def title(self) -> str:
        """The label for people, or the name if there is none."""
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class Rfm:
    """The features for recency, frequency and monetary value."""

    recency: str
    frequency: str
    monetary: str


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """A user-level table: its key columns, its label and its features, in order.

    `missing_texts` are texts that mean "missing" in every column, such as "NULL" and "NA".
    """

    name: str
    features: tuple[Feature, ...]
    id: str | None = None
    label: str | None = None
    snapshot: str | None = None
    horizon_days: int = 0
    rfm: Rfm | None = None
    missing_texts: tuple[str, ...] = ()

    @property
    def model_features(self) -> tuple[Feature, ...]:
        """The features that the models read, in the order of the `features` tensor."""
        return tuple(feature for feature in self.features if feature.use)

    def missing_marks(self, feature: Feature) -> tuple[str, ...]:
        """The texts that mean "missing" in a feature."""
        return (*self.missing_texts, *feature.missing_texts)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the whole schema, as 64 hex digits."""
        text = json.dumps(schema_to_dict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def default_schema_path() -> Path:
    """The path of the schema that ships with the package."""
    return Path(str(files("engine") / "schemas" / "shopnow.toml"))


def load_schema(path: Path) -> FeatureSchema:
    """Read a schema.toml.

    Raises:
        BundleError: The file is missing, is not TOML, or is not a valid schema.
    """
    document = read_toml(path, absent="no such schema file. Give one with --schema.")
    if "feature" in document:
        document["features"] = document.pop("feature")
    return schema_from_dict(document, where=str(path))


def schema_to_dict(schema: FeatureSchema) -> dict[str, Any]:
    """The schema as plain values: the inverse of `schema_from_dict`.

    A later key is left out where it is not set, so that manifests and fingerprints of schemas without it
    stay the same.
    """
    document = asdict(schema)
    for feature in document["features"]:
        for key in _LATER_KEYS:
            if not feature[key]:
                del feature[key]
    return document


def schema_from_dict(document: Mapping[str, Any], where: str) -> FeatureSchema:
    """Build a schema from plain values, as `schema_to_dict` gives them; an error names all mistakes at once.

    Raises:
        BundleError: The schema is invalid; `where` begins the message.
    """
    problems = _table_problems(document)
    if not problems:
        for position, raw in enumerate(document["features"], start=1):
            problems += _feature_problems(raw, f"feature {position}")
    if not problems:
        problems = _comparison_problems(document["features"])
    if problems:
        shown, more = problems[:MISTAKES_SHOWN], len(problems) - MISTAKES_SHOWN
        raise BundleError(
            f"{where}: {pluralize(len(problems), 'mistake')} in the schema: {'; '.join(shown)}"
            + (f"; and {more:,} more." if more > 0 else ".")
        )
    features = tuple(map(_feature, document["features"]))
    rfm = document.get("rfm") and Rfm(**document["rfm"])
    missing_texts = tuple(document.get("missing_texts", ()))
    schema = FeatureSchema(
        **{**document, "features": features, "rfm": rfm, "missing_texts": missing_texts}
    )
    _check_names(schema, where)
    return schema


def _feature(raw: Mapping[str, Any]) -> Feature:
    lists = {key: tuple(raw.get(key, ())) for key in ("values", "missing_texts")}
    phrases = raw.get("phrases") and Phrases(**raw["phrases"])
    return Feature(**{**raw, **lists, "phrases": phrases or None})


def _table_problems(document: Mapping[str, Any]) -> list[str]:
    problems = _key_problems(document, FeatureSchema, "the table")
    for key in ("name", "id", "label", "snapshot"):
        value = document.get(key)
        if (value is None and key == "name") or not isinstance(value, str | None) or value == "":
            problems.append(f"'{key}' must be a text, found {value!r}")
    # The name is part of the bundle id, which is written on one line with other fields.
    name = document.get("name")
    if isinstance(name, str) and not is_bundle_name(name):
        problems.append(
            f"'name' must not be a path or contain '/' or invisible characters, found {name!r}"
        )
    horizon = document.get("horizon_days", 0)
    if not _is_of(horizon, (int,)) or not 0 <= horizon <= MAX_HORIZON_DAYS:
        problems.append(
            f"'horizon_days' must be a whole number from 0 to {MAX_HORIZON_DAYS}, found {horizon!r}"
        )
    problems += _list_problems(document, "missing_texts", "the table")
    features = document.get("features")
    if not isinstance(features, list | tuple) or not features:
        return [*problems, "at least one [[feature]] is needed"]
    if len(features) > MAX_FEATURES:
        return [*problems, f"{len(features):,} features, at most {MAX_FEATURES:,} are read"]
    return problems + _rfm_problems(document.get("rfm"), features)


def _rfm_problems(rfm: object, features: Sequence[object]) -> list[str]:
    if rfm is None:
        return []
    wanted = [field.name for field in fields(Rfm)]
    if not isinstance(rfm, Mapping) or sorted(rfm) != sorted(wanted):
        return [f"[rfm] must name a feature for each of {quoted(wanted)}, found {rfm!r}"]
    numeric = [
        f.get("name") for f in features if isinstance(f, Mapping) and f.get("kind") == "numeric"
    ]
    return [
        f"[rfm] {part} must be the name of a numeric feature, found {name!r}"
        for part, name in rfm.items()
        if name not in numeric
    ]


def _feature_problems(raw: object, place: str) -> list[str]:
    if not isinstance(raw, Mapping):
        return [f"{place} must be a table"]
    name = raw.get("name")
    if not isinstance(name, str) or not name:
        return [f"{place} needs a 'name'"]
    problems = _key_problems(raw, Feature, f"'{name}'")
    problems += [
        f"'{name}': {key} must be one of {quoted(allowed)}, found {raw.get(key)!r}"
        for key, default, allowed in (
            ("kind", None, get_args(Kind)),
            ("missing", "allowed", get_args(Missing)),
            ("number", "", ("", *get_args(NumberFormat))),
        )
        if raw.get(key, default) not in allowed
    ]
    problems += [
        f"'{name}': {key} must be {word}, found {raw[key]!r}"
        for key, (types, word) in _FEATURE_TYPES.items()
        if raw.get(key) is not None and not _is_of(raw[key], types)
    ]
    if not problems:
        problems = _feature_contradictions(raw, name)
    return problems


def _feature_contradictions(raw: Mapping[str, Any], name: str) -> list[str]:
    values = list(raw.get("values", ()))
    low, high = raw.get("min"), raw.get("max")
    problems = [
        f"'{name}': {key} must be finite, found {str(raw[key])[:80]}; leave it out if there is no "
        "bound"
        for key in ("min", "max")
        if raw.get(key) is not None and not _is_number(raw[key])
    ]
    if raw["kind"] == "numeric" and (values or raw.get("ordered")):
        problems.append(f"'{name}': a numeric feature has no values and no order")
    if raw["kind"] == "categorical" and not (low is None and high is None):
        problems.append(f"'{name}': a categorical feature has no min or max")
    if low is not None and high is not None and low > high:
        problems.append(f"'{name}': min {low} is above max {high}")
    if raw.get("ordered") and not values:
        problems.append(f"'{name}': an ordered feature lists its values in order")
    if raw["kind"] == "categorical" and raw.get("number"):
        problems.append(f"'{name}': a categorical feature has no number format")
    for key in ("values", "missing_texts"):
        problems += _list_problems(raw, key, f"'{name}'")
    problems += _phrase_problems(raw, f"'{name}': phrases")
    if both := set(map(str, values)).intersection(map(str, raw.get("missing_texts", ()))):
        problems.append(f"'{name}': {quoted(sorted(both))} both in values and in missing_texts")
    return problems


def _phrase_problems(raw: Mapping[str, Any], place: str) -> list[str]:
    phrases = raw.get("phrases") or {}
    problems = _key_problems(phrases, Phrases, place)
    for key, text in phrases.items():
        if not isinstance(text, str) or len(text) > PHRASE_LENGTH or not text.isprintable():
            problems.append(
                f"{place}.{key} must be a text of at most {PHRASE_LENGTH} visible characters, "
                f"found {str(text)[:PHRASE_LENGTH]!r}"
            )
        elif text and text.count(VALUE) != (key == "value"):
            times = "once" if key == "value" else "nowhere"
            problems.append(f"{place}.{key} must have {VALUE} {times}, found {text!r}")
    if raw["kind"] == "categorical" and (phrases.get("one") or phrases.get("zero")):
        problems.append(f"{place}.one and .zero are for numbers, but the feature is categorical")
    return problems


def _comparison_problems(features: Sequence[Mapping[str, Any]]) -> list[str]:
    numeric = {raw["name"] for raw in features if raw["kind"] == "numeric"}
    return [
        f"'{raw['name']}': at_least compares a numeric feature with another one, found "
        f"{raw['at_least']!r}"
        for raw in features
        if raw.get("at_least")
        and (raw["name"] not in numeric or raw["at_least"] not in numeric - {raw["name"]})
    ]


def _list_problems(raw: Mapping[str, Any], key: str, place: str) -> list[str]:
    texts = raw.get(key, ())
    is_list = isinstance(texts, list | tuple) and all(isinstance(t, str) and t for t in texts)
    if is_list and len(set(texts)) == len(texts):
        return []
    return [f"{place}: {key} must be a list of different texts, none empty"]


_TEXT, _NUMBER, _FLAG = ((str,), "a text"), ((int, float), "a number"), ((bool,), "true or false")
_FEATURE_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("group", "unit", "label", "high", "low", "at_least"), _TEXT),
    **dict.fromkeys(("min", "max"), _NUMBER),
    **dict.fromkeys(("use", "ordered"), _FLAG),
    **dict.fromkeys(("values", "missing_texts"), ((list, tuple), "a list")),
    "phrases": ((dict,), "a table"),
}


def _is_of(value: object, types: tuple[type, ...]) -> bool:
    # NOTE: isinstance counts bool as int, but it is not a bound.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _is_number(value: float) -> bool:
    """Whether JSON can hold a number: a finite float, or an integer of 64 bits."""
    return abs(value) < 1 << 63 if isinstance(value, int) else math.isfinite(value)


def _key_problems(raw: Mapping[str, Any], target: type, place: str) -> list[str]:
    unknown = sorted(set(raw) - {field.name for field in fields(target)})
    return [f"{place} has unknown keys {quoted(unknown)}"] if unknown else []


def _check_names(schema: FeatureSchema, where: str) -> None:
    keys = [schema.id, schema.label, schema.snapshot, *(f.name for f in schema.features)]
    names = [name for name in keys if name is not None]
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise BundleError(
            f"{where}: {pluralize(len(repeated), 'column')} named more than once: {quoted(repeated)}. "
            "Each column has one role: id, label, snapshot or feature."
        )
    problems: dict[str, list[str]] = {}
    for name in names:
        problem = name_problem(name)
        if problem and not (name == schema.label and is_reserved(name)):
            problems.setdefault(problem, []).append(name)
    for problem, found in problems.items():
        raise BundleError(
            f"{where}: {pluralize(len(found), 'column')} {problem}: {quoted(sorted(found))}. "
            "Rename them in the table and in the schema."
        )
    if not schema.model_features:
        raise BundleError(f"{where}: every feature has use = false; the models need at least one.")


def is_bundle_name(text: str) -> bool:
    """Whether a text can name a table, and so the part of a bundle id before its version."""
    return text.isprintable() and "/" not in text and text not in ("", ".", "..")


def name_problem(name: str) -> str | None:
    """Why no feature can have this name; None if one can."""
    if is_reserved(name):
        return "named like columns that the engine adds"
    # It separates column and rule in the reasons of quarantined rows.
    if "|" in name:
        return "with '|' in the name"
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        return "named as a pattern of columns"
    return None


def is_reserved(name: str) -> bool:
    """Whether a column of the engine has this name, so that no column of a table can have it."""
    return name in _RESERVED_NAMES or _RESERVED_PATTERN.fullmatch(name) is not None
