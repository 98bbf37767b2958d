"""The facts of a what-if page: features with their ranges, cut-points, segments, actions."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.open import REFERENCE, Bundle
from engine.bundle.playbook import playbook_rows
from engine.bundle.reference import reference_from_json
from engine.bundle.schema import Feature
from engine.format import NO_UNITS
from engine.pages.format import EVERYBODY, sentence
from engine.pages.html import visible
from engine.words import EFFECT_BOUNDS, EFFECTS, phrases_of, spoken_category
from training.report.subject import Subject
from training.report.what_if.typical import Typical, Usual

SMALLEST = 1e-30
STEP_DIGITS = 3
"""Significant digits of slider stops that are not whole numbers."""


def page_facts(bundle: Bundle, subject: Subject, usual: Usual) -> dict[str, Any]:
    """Everything that the page shows, except scores, as plain JSON values.

    Args:
        bundle: The bundle whose scorer runs in the page.
        subject: Its quality, as in the report.
        usual: Where the page starts from.
    """
    manifest = bundle.manifest
    edges = reference_from_json(bundle.contents[REFERENCE], manifest).edges
    columns = zip(manifest.schema.model_features, edges, usual.whole, strict=True)
    return {
        "bundle": visible(manifest.bundle_id),
        "event": subject.event,
        "base_value": manifest.base_value,
        "threshold": manifest.threshold,
        "decile_cuts": manifest.decile_cuts,
        "band_cuts": manifest.band_cuts,
        "bands": [band.replace("_", " ") for band in BANDS],
        "effects": {
            "bounds": [float(bound) for bound in EFFECT_BOUNDS],
            "words": [words for _, words in EFFECTS],
        },
        "features": [
            _feature(manifest, feature, inner, whole=whole) for feature, inner, whole in columns
        ],
        "segments": [
            {
                "id": segment.id,
                "name": visible(segment.name),
                "sentence": visible(segment.sentence),
                "share": segment.share,
            }
            for segment in manifest.named_segments
        ],
        "actions": [
            {
                "segment": row["segment_id"],
                "band": BANDS.index(row["band"]),
                "action": visible(row["action"]),
                "rationale": sentence(visible(row.get("rationale", ""))),
            }
            for row in playbook_rows(bundle)
        ],
        "starts": [_start(manifest, typical) for typical in usual.typical],
    }


def _feature(
    manifest: Manifest, feature: Feature, edges: tuple[float, ...], *, whole: bool
) -> dict[str, Any]:
    known = {
        "name": feature.name,
        "label": visible(feature.title),
        "group": visible(feature.group),
        "kind": feature.kind,
        "may_be_missing": feature.missing == "allowed",
        "phrases": asdict(phrases_of(feature)),
        "missing_texts": manifest.schema.missing_marks(feature),
        "at_least": feature.at_least,
    }
    if feature.kind == "categorical":
        values = feature.values or tuple(sorted(manifest.categories[feature.name]))
        options = [{"value": v, "words": visible(v), "spoken": spoken_category(v)} for v in values]
        return {**known, "values": options}
    return {
        **known,
        "unit": "" if feature.unit in NO_UNITS else visible(feature.unit),
        "number": feature.number_format,
        "min": feature.min,
        "max": feature.max,
        "whole": whole,
        "stops": slider_stops(feature, edges, whole=whole),
    }


def slider_stops(feature: Feature, edges: tuple[float, ...], *, whole: bool) -> list[float]:
    """The values at even distances along a slider, at least two, rising.

    Between the ends of the schema's range, the stops are the bin edges of the training users, at even
    distances: the slider moves evenly through users, not through numbers.

    Args:
        feature: With its range, if the schema has one.
        edges: The lower ends of all bins of the reference except the first.
        whole: Whether all numbers are whole.
    """
    lowest = -math.inf if feature.min is None else feature.min
    highest = math.inf if feature.max is None else feature.max
    rounded = [float(round(e) if whole else f"{e:.{STEP_DIGITS}g}") for e in edges]
    # The lowest value may be a bin of its own that ends at the next float32; that is no stop.
    inner = [e for e in rounded if lowest < e < highest and (e == 0 or abs(e) > SMALLEST)]
    span = inner[-1] - inner[0] if len(inner) > 1 else 1.0
    known = inner or [max(lowest, min(0.0, highest))]
    low = known[0] - span if feature.min is None else feature.min
    high = known[-1] + span if feature.max is None else feature.max
    return _rising([float(low), *inner, float(high)])


def _rising(values: Iterable[float]) -> list[float]:
    kept = sorted(set(values))
    return kept if len(kept) > 1 else [kept[0], kept[0] + 1]


def _start(manifest: Manifest, typical: Typical) -> dict[str, Any]:
    names = {segment.id: segment.name for segment in manifest.segments}
    return {
        "segment": typical.segment,
        "title": EVERYBODY if typical.segment is None else visible(names[typical.segment]),
        "values": {
            feature.name: value
            for feature, value in zip(manifest.schema.model_features, typical.values, strict=True)
        },
    }
