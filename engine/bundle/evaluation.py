"""What was measured of a bundle: `evaluation.json`, which scoring never opens.

`training.evaluate` measures it; `inspect`, the report and promotion read it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from math import isfinite
from typing import Any

from engine.bundle.files import parse_json
from engine.bundle.manifest import Manifest
from engine.bundle.open import EVALUATION, Bundle
from engine.errors import BundleError, quoted

Figures = Mapping[str, Any]
"""Plain JSON values, by name."""


@dataclass(frozen=True, slots=True)
class FitRecord:
    """What only the fit knows; later measurements on other users do not change it.

    Attributes:
        training: The data, the seed and the split.
        search: The trials, the baselines and the chosen model.
        clustering: The feature space of the segments, and how their number was chosen.
        profiles: What distinguishes the users of each segment, by segment id.
        leakage: Checks for features that reveal the outcome.
        parity: How much ONNX and the native models differ.
        packages: The package versions of the fit.
    """

    training: Figures
    search: Figures
    clustering: Figures
    profiles: Mapping[int, Figures]
    leakage: Figures
    parity: Figures
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A bundle measured on labelled users: its own test part in a fit, or any others.

    Attributes:
        bundle_id: The bundle.
        data: The users measured on: rows, users, dates and a description.
        cautions: Why the figures may flatter the bundle, in sentences.
        metrics: The figures of the purchase model.
        segments: The silhouette and the share of each segment.
        drivers: Mean absolute impacts, overall and by group, segment and band.
        drift: The shift from the training users; empty for the test part itself.
        comparison: The model compared with the segments.
        quality: The quality band, and whether the bundle may be used.
        fit: What only the fit knows.
    """

    bundle_id: str
    data: Figures
    cautions: tuple[str, ...]
    metrics: Figures
    segments: Figures
    drivers: Figures
    drift: Figures
    comparison: Figures
    quality: Figures
    fit: FitRecord


def evaluation_to_json(evaluation: Evaluation) -> bytes:
    """The evaluation as UTF-8 JSON with sorted keys: equal evaluations give equal bytes."""
    document = asdict(evaluation)
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def read_evaluation(bundle: Bundle) -> Evaluation:
    """The evaluation that a bundle was published with.

    Raises:
        BundleError: `evaluation.json` is invalid or of another bundle.
    """
    where = str(bundle.path / EVALUATION)
    return evaluation_from_json(bundle.contents[EVALUATION], bundle.manifest, where)


def evaluation_from_json(content: bytes, manifest: Manifest, where: str) -> Evaluation:
    """Read `evaluation.json`.

    Raises:
        BundleError: It is invalid or of another bundle; `where` begins the message.
    """
    try:
        document = parse_json(content)
    except ValueError as error:
        raise BundleError(f"{where}: not JSON: {error}. Copy the bundle again.") from error
    problem = _shape_problem(document, _EVALUATION, "it") or _mismatch(document, manifest)
    if problem:
        raise BundleError(f"{where}: not an evaluation: {problem}. Copy the bundle again.")
    record = document["fit"]
    profiles = {int(number): profile for number, profile in record["profiles"].items()}
    fit = FitRecord(**{name: record[name] for name in _FIT} | {"profiles": profiles})
    given = {name: document[name] for name in _EVALUATION}
    return Evaluation(**given | {"cautions": tuple(document["cautions"]), "fit": fit})


def _is_number(value: object) -> bool:
    # NOTE: an integer of hundreds of digits cannot become a float, nor be formatted as one.
    if isinstance(value, float):
        return isfinite(value)
    return type(value) is int and abs(value) < 1 << 63


def _is_figure(value: object) -> bool:
    """Whether a value is a number that can be formatted, or no number."""
    return type(value) not in (int, float) or _is_number(value)


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Optional:
    """A value that may be null."""

    shape: Any


_Check = Callable[[object], bool]
_NUMBER: _Check = _is_number
_DATE: _Check = _is_date
_FIGURE: _Check = _is_figure
_MEANS = {str: {str: _Optional(_NUMBER)}}
_INTERVAL = _Optional((_NUMBER, _NUMBER))
_DIFFERENCE = {"feature": str, "words?": str, "mean?": _Optional(_NUMBER)}

_FIT: dict[str, Any] = {
    "training": {
        "rows": _NUMBER,
        "users": _NUMBER,
        "rows_left_out": {str: _NUMBER},
        "seed?": _NUMBER,
        "snapshots": [_DATE],
        "data_fingerprint": str,
        "split": {"kind": str},
    },
    "search": {
        "trials": [
            {
                "name": str,
                "chosen": bool,
                "trees": _NUMBER,
                "parameters": {str: object},
                "log_loss": _Optional(_NUMBER),
                "roc_auc": _Optional(_NUMBER),
            }
        ],
        "baselines": [{"name": str, "log_loss": _NUMBER, "roc_auc": _Optional(_NUMBER)}],
        "depth_gain": _Optional(
            {
                "depth": _NUMBER,
                "roc_auc": _Optional(_NUMBER),
                "roc_auc_standard_error": _Optional(_NUMBER),
            }
        ),
    },
    "clustering": {
        "features": [str],
        "transforms": [str],
        "reasons": [str],
        "changes": [str],
        "imputation": [_NUMBER],
        "mean": [_NUMBER],
        "scale": [_NUMBER],
        "silhouette": _Optional(_NUMBER),
        "silhouette_permuted": _Optional(_NUMBER),
        "silhouette_copula": _Optional(_NUMBER),
        "counts_tried": [{"segments": _NUMBER, "chosen": bool, str: _Optional(_NUMBER)}],
    },
    "profiles": {
        str: {
            "name_features": [{"feature": str, "value": str, "side": str}],
            "over": [_DIFFERENCE],
            "under": [_DIFFERENCE],
            **dict.fromkeys(("recency?", "frequency?", "spend?"), _Optional(_NUMBER)),
        }
    },
    "leakage": {
        "broken": [str],
        "reasons": [str],
        "shuffled_labels": {"roc_auc": _Optional(_NUMBER)},
        "single_features": [{"feature": str, "roc_auc": _Optional(_NUMBER), "suspicious": bool}],
    },
    "parity": {
        "rows": _NUMBER,
        "tolerances": {str: _NUMBER},
        "max_probability_difference": _NUMBER,
        "max_margin_difference": _NUMBER,
        "max_impact_difference": _NUMBER,
        str: _NUMBER,
    },
    "packages": {str: str},
}
_EVALUATION: dict[str, Any] = {
    "bundle_id": str,
    "data": {str: object},
    "cautions": [str],
    "metrics": {"intervals?": {str: _INTERVAL}, "suppressed?": [str], str: _FIGURE},
    "segments": {str: object},
    "drivers": {
        "features": [
            {
                "name": str,
                "mean_absolute_impact": _NUMBER,
                "direction": str,
                "raises_most?": str,
                "lowers_most?": str,
            }
        ],
        "groups": {str: _NUMBER},
        "segments": _MEANS,
        "bands": _MEANS,
    },
    "drift": {str: object},
    "comparison": {
        "fitted": [dict.fromkeys(("segment_id", "purchase_rate", "slope", "intercept"), _NUMBER)]
    },
    "quality": {"band": str, "may_be_used": bool, "sentence": str, "reasons": [str]},
    "fit": _FIT,
}
"""The structure that readers rely on: `?` marks a name that may be absent, `str` stands for all other
names."""


def _shape_problem(value: object, shape: Any, place: str) -> str | None:  # noqa: ANN401
    """The first difference between a value and its shape, in words; None if there is none."""
    match shape:
        case _Optional():
            return None if value is None else _shape_problem(value, shape.shape, place)
        case {}:
            return _mapping_problem(value, shape, place)
        case [item]:
            valid, items = isinstance(value, list), [(each, item) for each in _items(value)]
        case tuple():
            valid = isinstance(value, list) and len(value) == len(shape)
            items = list(zip(_items(value), shape, strict=False))
        case type():
            valid, items = isinstance(value, shape), []
        case _:
            valid, items = shape(value), []
    if not valid:
        return f"{place} cannot be {str(value)[:60]!r}"
    problems = (_shape_problem(each, item, f"{place}[{n}]") for n, (each, item) in enumerate(items))
    return next(filter(None, problems), None)


def _mapping_problem(value: object, shape: Mapping[Any, Any], place: str) -> str | None:
    if not isinstance(value, dict):
        return f"{place} cannot be {str(value)[:60]!r}"
    named = {name.removesuffix("?"): inner for name, inner in shape.items() if name is not str}
    absent = [name for name in named if name in shape and name not in value]
    if absent:
        return f"{place} has no {quoted(absent)}"
    problems = (
        _shape_problem(each, named.get(name, shape.get(str, object)), f"{place}.{name}")
        for name, each in value.items()
    )
    return next(filter(None, problems), None)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mismatch(document: Figures, manifest: Manifest) -> str | None:
    """The parts that belong to another bundle than the manifest."""
    clustering, fitted = document["fit"]["clustering"], document["comparison"]["fitted"]
    ids = [segment.id for segment in manifest.segments]
    known = {feature.name for feature in manifest.schema.model_features}
    columns = ("features", "transforms", "imputation", "mean", "scale")
    checks = {
        "bundle_id": document["bundle_id"] == manifest.bundle_id,
        "fit.profiles": sorted(document["fit"]["profiles"]) == sorted(map(str, ids)),
        "comparison.fitted": [figures["segment_id"] for figures in fitted] in (ids, []),
        "fit.clustering": len({len(clustering[name]) for name in columns}) == 1
        and set(clustering["features"]) <= known,
    }
    wrong = [name for name, fits in checks.items() if not fits]
    return f"{quoted(wrong)} not of bundle {manifest.bundle_id}" if wrong else None
