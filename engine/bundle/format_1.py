"""Reads bundles of format 1, whose manifest also holds the evaluation; remove it with format 3."""

from collections.abc import Callable, Mapping
from typing import Any

Document = Mapping[str, Any]


def manifest_document(old: Document) -> Document:
    """The manifest that format 2 keeps."""
    return {**old, "segments_unusable": old["clustering"]["reasons"]}


def evaluation_document(old: Document) -> Document:
    """The part of the manifest that format 2 moves into `evaluation.json`; not checked here."""
    metrics, record = _mapping(old, "metrics"), _mapping(old, "training")
    measured = ("bundle_id", "comparison", "quality")
    return {
        **{name: old.get(name) for name in measured},
        "data": {"rows": metrics.get("rows"), "users": metrics.get("users")},
        "cautions": [],
        "metrics": _metrics(metrics),
        "segments": {"silhouette": _mapping(old, "clustering").get("silhouette")},
        "drivers": _drivers(old.get("drivers")),
        "drift": {},
        "fit": {
            "training": record,
            "search": record.get("classifier"),
            "profiles": {str(segment["id"]): segment.get("profile") for segment in old["segments"]},
            "leakage": metrics.get("leakage"),
            **{name: old.get(name) for name in ("clustering", "parity", "packages")},
        },
    }


def _metrics(old: Document) -> Document:
    """Figures by their names in format 2, which leaves out parts of few users: format 1 had nulls."""
    parts = {
        "cells": _renamed(old.get("cells"), "band", "bands", lambda band: [band]),
        "deciles": _renamed(old.get("deciles"), "decile", "deciles", lambda decile: [decile]),
        **{name: old.get(name) for name in ("reliability", "gains", "operating_points")},
    }
    figure = {
        "cells": "purchase_rate",
        "reliability": "low",
        "gains": "lift",
        "operating_points": "precision",
    }
    return {
        **{name: value for name, value in old.items() if name not in ("leakage", "withheld")},
        "suppressed": old.get("withheld", []),
        **{name: _measured(value, figure.get(name, "rows")) for name, value in parts.items()},
    }


def _drivers(old: object) -> object:
    if not isinstance(old, dict):
        return old
    return {**old, "features": _renamed(old.get("features"), "shape", "dependence")}


def _renamed(
    parts: object, before: str, after: str, change: Callable[[Any], Any] = lambda value: value
) -> object:
    """The same parts with another name for one of their values, where they have it."""
    if not isinstance(parts, list):
        return parts
    return [
        {**{name: part[name] for name in part if name != before}, after: change(part[before])}
        if isinstance(part, dict) and before in part
        else part
        for part in parts
    ]


def _measured(parts: object, figure: str) -> list[Any]:
    """The parts that have a figure."""
    found = parts if isinstance(parts, list) else []
    return [part for part in found if isinstance(part, dict) and part.get(figure) is not None]


def _mapping(old: Document, name: str) -> Document:
    value = old.get(name)
    return value if isinstance(value, dict) else {}
