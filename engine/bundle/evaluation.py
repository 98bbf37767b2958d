"""What was measured of a bundle: `evaluation.json`, which scoring never opens.

`training.evaluate` measures it; `inspect`, the report and promotion read it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from engine.bundle.documents import parse_json, to_json
from engine.bundle.manifest import Manifest
from engine.bundle.open import EVALUATION, Bundle
from engine.bundle.structure import is_number, structure_problem
from engine.errors import BundleError, quoted

Json = Mapping[str, Any]
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

    training: Json
    search: Json
    clustering: Json
    profiles: Mapping[int, Json]
    leakage: Json
    parity: Json
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
    data: Json
    cautions: tuple[str, ...]
    metrics: Json
    segments: Json
    drivers: Json
    drift: Json
    comparison: Json
    quality: Json
    fit: FitRecord


def evaluation_to_json(evaluation: Evaluation) -> bytes:
    """The evaluation as UTF-8 JSON with sorted keys: equal evaluations give equal bytes."""
    return to_json(asdict(evaluation))


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
        problem = structure_problem(document, _EVALUATION, "it") or _mismatch(document, manifest)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise BundleError(f"{where}: not an evaluation: {problem}. Copy the bundle again.")
    record = document["fit"]
    profiles = {int(number): profile for number, profile in record["profiles"].items()}
    fit = FitRecord(**{name: record[name] for name in _FIT} | {"profiles": profiles})
    parts = {name: document[name] for name in _EVALUATION}
    return Evaluation(**parts | {"cautions": tuple(document["cautions"]), "fit": fit})


def _metric(value: object) -> bool:
    """Whether a value is a number that can be formatted, or no number."""
    return type(value) not in (int, float) or is_number(value)


def _date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _interval(value: object) -> bool:
    return value is None or (isinstance(value, list) and [*map(is_number, value)] == [True, True])


def _buckets(value: object) -> bool:
    return type(value) is int and 0 < value <= 1 << 16 and value & (value - 1) == 0


def _hex(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"([0-9a-f]{8})+", value) is not None


_NUMBER_OR_NULL = (None, is_number)
_MEANS = {str: {str: _NUMBER_OR_NULL}}
_DIFFERENCE = {"feature": str, "words?": str, "mean?": _NUMBER_OR_NULL}

_COUNTS = {"rows": is_number, "buckets": _buckets, "counts": [_hex]}

_FIT: dict[str, Any] = {
    "training": {
        "rows": is_number,
        "users": is_number,
        "rows_left_out": {str: is_number},
        "seed?": is_number,
        "snapshots": [_date],
        "data_fingerprint": str,
        "split": {"kind": str},
        "seen?": (None, _COUNTS),
        "seen_non_buyers?": (None, _COUNTS),
    },
    "search": {
        "trials": [
            {
                "name": str,
                "chosen": bool,
                "trees": is_number,
                "parameters": {str: object},
                "log_loss": _NUMBER_OR_NULL,
                "roc_auc": _NUMBER_OR_NULL,
            }
        ],
        "unrestricted?": (
            None,
            {
                "name": str,
                "trees": is_number,
                "log_loss": is_number,
                "difference": is_number,
                "standard_error": is_number,
                "roc_auc": _NUMBER_OR_NULL,
            },
        ),
        "baselines": [{"name": str, "log_loss": is_number, "roc_auc": _NUMBER_OR_NULL}],
        "depth_gain": (
            None,
            {
                "roc_auc": _NUMBER_OR_NULL,
                "roc_auc_standard_error": _NUMBER_OR_NULL,
            },
        ),
    },
    "clustering": {
        "features": [str],
        "transforms": [str],
        "reasons": [str],
        "changes": [str],
        "imputation": [is_number],
        "mean": [is_number],
        "scale": [is_number],
        "silhouette": _NUMBER_OR_NULL,
        "silhouette_permuted": _NUMBER_OR_NULL,
        "silhouette_copula": _NUMBER_OR_NULL,
        "counts_tried": [{"segments": is_number, "chosen": bool, str: _NUMBER_OR_NULL}],
    },
    "profiles": {
        str: {
            "name_features": [{"feature": str, "value": str, "side": str}],
            "over": [_DIFFERENCE],
            "under": [_DIFFERENCE],
            **dict.fromkeys(("recency?", "frequency?", "spend?"), _NUMBER_OR_NULL),
        }
    },
    "leakage": {
        "broken": [str],
        "reasons": [str],
        "cautions?": [str],
        "shuffled_labels": {"roc_auc": _NUMBER_OR_NULL},
        "single_features": [{"feature": str, "roc_auc": _NUMBER_OR_NULL, "suspicious": bool}],
    },
    "parity": {
        "rows": is_number,
        "tolerances": {str: is_number},
        "max_probability_difference": is_number,
        "max_margin_difference": is_number,
        "max_impact_difference": is_number,
        str: is_number,
    },
    "packages": {str: str},
}
_EVALUATION: dict[str, Any] = {
    "bundle_id": str,
    "data": {str: object},
    "cautions": [str],
    "metrics": {
        "intervals?": {str: _interval},
        "suppressed?": [str],
        "histogram?": {
            "width": is_number,
            "segments": [
                {"segment_id": is_number, "rows": [is_number], "expected_buyers": [is_number]}
            ],
        },
        str: _metric,
    },
    "segments": {str: object},
    "drivers": {
        "features": [
            {
                "name": str,
                "mean_absolute_impact": is_number,
                "direction": str,
                "raises_most?": str,
                "lowers_most?": str,
            }
        ],
        "groups": {str: is_number},
        "segments": _MEANS,
        "bands": _MEANS,
    },
    "drift": {str: object},
    "comparison": {
        "fitted": [dict.fromkeys(("segment_id", "purchase_rate", "slope", "intercept"), is_number)]
    },
    "quality": {"band": str, "may_be_used": bool, "sentence": str, "reasons": [str]},
    "fit": _FIT,
}
"""The structure that readers rely on, as in `engine.bundle.structure`."""


def _sizes_fit(seen: Json | None) -> bool:
    """Whether users of training are counted by every part of the hash, in every bucket."""
    return seen is None or [len(text) for text in seen["counts"]] == 4 * [8 * seen["buckets"]]


def _mismatch(document: Json, manifest: Manifest) -> str | None:
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
        **{
            f"fit.training.{name}": _sizes_fit(document["fit"]["training"].get(name))
            for name in ("seen", "seen_non_buyers")
        },
    }
    wrong = [name for name, fits in checks.items() if not fits]
    return f"{quoted(wrong)} not of bundle {manifest.bundle_id}" if wrong else None
