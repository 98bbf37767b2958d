"""Graphs that describe themselves, so that `scorer.onnx` alone is enough to read its outputs.

Written into the graphs after parity: nothing here changes what they compute.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import ModelProto, ValueInfoProto, helper

from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.open import CLASSIFIER, CORE, PREPROCESS, SCORER, SEGMENTER
from engine.bundle.schema import Feature

_GRAPH_WORDS = {
    PREPROCESS: "From named columns to the features that the models read.",
    CLASSIFIER: "The probability of a purchase within the horizon, and what moves it: exact Shapley "
    "values in log-odds.",
    SEGMENTER: "The customer segment: the nearest of the KMeans centroids.",
    CORE: "From the features that the models read to the probability of a purchase within the "
    "horizon, what moves it, and the customer segment.",
    SCORER: "From named columns of a user to the probability of a purchase within the horizon, what "
    "moves it, and the customer segment.",
}

_OUTPUT_WORDS = {
    "margin": "Log-odds of the probability: base_value of the metadata plus the sum of all impacts.",
    "probability": "Calibrated probability of a purchase within the horizon; threshold, decile_cuts "
    "and band_cuts of the metadata divide it; a probability equal to a cut counts as above it.",
    "impacts": "The exact Shapley value of every feature on the margin, in the order of features of "
    "the metadata.",
    "driver_index": "The features with the largest absolute impacts, largest first: places in "
    "features of the metadata, from 0.",
    "driver_impact": "Their impacts.",
    "segment": "The id of the segment; segments of the metadata names it.",
    "distances": "How far the user is from each segment, in the order of segments of the metadata.",
    "features": "What the models read, in the order of features of the metadata: a number, or the "
    "code of a category, its place in the values there, from 0; NaN where missing or not among them.",
}


def described(
    contents: Mapping[str, bytes],
    manifest: Manifest,
    playbook: Mapping[str, Any],
    snapshots: Sequence[str],
) -> dict[str, bytes]:
    """The graphs of a bundle with metadata, a model version, and descriptions of inputs and outputs.

    Args:
        contents: The files of a bundle, including its graphs.
        manifest: Complete except `files`.
        playbook: What `playbook.json` holds.
        snapshots: The dates of the users that the bundle was fitted to, rising.

    Returns:
        The graphs by name.
    """
    properties = _properties(manifest, playbook)
    features = {feature.name: feature for feature in manifest.schema.model_features}
    found = {}
    for name, words in _GRAPH_WORDS.items():
        model = ModelProto.FromString(contents[name])
        helper.set_model_props(model, properties)
        model.model_version = _model_version(snapshots)
        model.doc_string = model.graph.doc_string = f"{words} Bundle {manifest.bundle_id}."
        for port in (*model.graph.input, *model.graph.output):
            port.doc_string = _port_words(port, features)
        found[name] = model.SerializeToString(deterministic=True)
    return found


def _properties(manifest: Manifest, playbook: Mapping[str, Any]) -> dict[str, str]:
    """Text values as they are, all others as JSON; numbers are exact float32 values."""
    documents: dict[str, object] = {
        "threshold": manifest.threshold,
        "decile_cuts": manifest.decile_cuts,
        "band_cuts": manifest.band_cuts,
        "bands": BANDS,
        "base_value": manifest.base_value,
        "horizon_days": manifest.schema.horizon_days,
        "features": [_feature(f, manifest) for f in manifest.schema.model_features],
        "segments": [
            {"id": segment.id, "name": segment.name, "sentence": segment.sentence}
            for segment in manifest.segments
        ],
        "actions": [
            {key: row[key] for key in ("segment_id", "band", "action")} for row in playbook["rows"]
        ],
        "unusable": manifest.unusable,
    }
    texts = {key: json.dumps(value, ensure_ascii=False) for key, value in documents.items()}
    return {"bundle_id": manifest.bundle_id, **texts}


def _feature(feature: Feature, manifest: Manifest) -> dict[str, object]:
    """The name, unit and possible values of a feature; a missing input is "" or NaN."""
    found: dict[str, object] = {"name": feature.name, "label": feature.title, "kind": feature.kind}
    if feature.unit:
        found["unit"] = feature.unit
    if feature.kind == "categorical":
        found["values"] = manifest.categories[feature.name]
    return found


def _model_version(snapshots: Sequence[str]) -> int:
    """The last snapshot as a number, 20261122; 0 if rows have no date."""
    return int(snapshots[-1].replace("-", "")) if snapshots else 0


def _port_words(port: ValueInfoProto, features: Mapping[str, Feature]) -> str:
    # NOTE: the schema ensures that no feature has the name of an output.
    if port.name not in features:
        return _OUTPUT_WORDS[port.name]
    feature = features[port.name]
    unit = f", in {feature.unit}" if feature.unit else ""
    missing = "NaN" if feature.kind == "numeric" else '""'
    return f"{feature.title}{unit}. {missing} where it is missing."
