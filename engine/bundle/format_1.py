"""Reads bundles of format 1, whose manifest also holds the evaluation; remove it with format 3."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def manifest_document(old: Document) -> Document:
    """The manifest that format 2 keeps."""
    return {**old, "segments_unusable": old["clustering"]["reasons"]}


def evaluation_document(old: Document) -> Document:
    """The part of the manifest that format 2 moves into `evaluation.json`; not checked here."""
    metrics, record = _mapping(old, "metrics"), _mapping(old, "training")
    measured = ("bundle_id", "drivers", "comparison", "quality")
    return {
        **{name: old.get(name) for name in measured},
        "data": {"rows": metrics.get("rows"), "users": metrics.get("users")},
        "cautions": [],
        "metrics": metrics,
        "segments": {"silhouette": _mapping(old, "clustering").get("silhouette")},
        "drift": {},
        "fit": {
            "training": record,
            "search": record.get("classifier"),
            "profiles": {str(segment["id"]): segment.get("profile") for segment in old["segments"]},
            "leakage": metrics.get("leakage"),
            **{name: old.get(name) for name in ("clustering", "parity", "packages")},
        },
    }


def _mapping(old: Document, name: str) -> Document:
    value = old.get(name)
    return value if isinstance(value, dict) else {}
