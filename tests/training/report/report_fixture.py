"""A bundle with every figure that a report can show: the golden one, and what its fit cannot measure."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from engine.bundle.playbook import read_playbook
from tests.golden.make import BUNDLE as GOLDEN
from training.report.page import Links, analyst_html, marketing_html
from training.report.subject import Subject

LINKS = Links("report.html", "report.analyst.html", "wi/index.html")

DRIFT = {
    "rows": 36_154,
    "features": [
        {"name": "sessions_last_7d", "psi": 0.31, "level": "alarm", "missing": 0.0,
         "missing_reference": 0.0, "words": "has higher values than in training"},
        {"name": "email_open_rate", "psi": 0.14, "level": "warn", "missing": 0.21,
         "missing_reference": 0.12,
         "words": "missing or unknown for 21% of users, for 12% in training"},
        {"name": "country", "psi": 0.01, "level": "none", "missing": 0.03,
         "missing_reference": 0.03},
    ],
    "score": {"name": "score", "psi": 0.08, "level": "none"},
    "segments": {"name": "segments", "psi": 0.02, "level": "none"},
}  # fmt: skip
MERGED_CELL = {
    "segment_id": 6, "bands": ["high", "very_high"], "rows": 912, "purchase_rate": 0.41,
    "mean_probability": 0.41,
}  # fmt: skip
DATES = ("2026-11-01", "2026-11-08", "2026-11-15")
WEEKS = {
    "words": "",
    "weeks": [
        {"snapshot": date, "rows": 12_000, "purchase_rate": 0.18, "mean_probability": 0.18,
         "roc_auc": {"model": 0.83, "segment_rate": 0.712, "segment_feature": 0.83,
                     "together": 0.829}}
        for date in DATES
    ],
    "changes": [
        {"from": before, "to": after, "users": 12_000, "segment_changed": 0.12,
         "band_changed": 0.25, "agreement": 0.77}
        for before, after in pairwise(DATES)
    ],
}  # fmt: skip


def histogram_of(numbers: Sequence[int]) -> dict:
    """Segments of falling bins, of which the likeliest are empty."""
    rows = [2_000 >> n if n < 7 else 0 for n in range(40)]
    buyers = [each * 0.025 * (n + 0.5) for n, each in enumerate(rows)]
    found = [{"segment_id": n, "rows": rows, "expected_buyers": buyers} for n in numbers]
    every = {
        "rows": [len(found) * n for n in rows],
        "expected_buyers": [len(found) * n for n in buyers],
    }
    return {"width": 0.025, **every, "segments": found}


def full_subject() -> Subject:
    """The golden bundle after several weeks: with drift, a segment that is new, and eight groups."""
    bundle = open_bundle(GOLDEN)
    evaluation = read_evaluation(bundle)
    subject = Subject(bundle.manifest, evaluation, read_playbook(bundle))
    metrics = evaluation.metrics
    shares = {str(segment.id): segment.share for segment in bundle.manifest.segments}
    return measured_as(
        subject,
        fit={"clustering": {**evaluation.fit.clustering, "changes": ["Cart leavers is new"]}},
        data={**evaluation.data, "snapshots": ["2026-11-22"], "what": "the test part"},
        segments={**evaluation.segments, "shares": shares},
        metrics={
            **metrics,
            "slices": metrics["slices"][:8],
            "cells": [*metrics["cells"], MERGED_CELL],
            "histogram": histogram_of([segment.id for segment in bundle.manifest.segments]),
        },
        quality={
            **evaluation.quality,
            "reasons": ["The last decile is 0.6 points too optimistic."],
        },
        comparison={**evaluation.comparison, "stability": WEEKS},
        drift=DRIFT,
    )


def measured_as(subject: Subject, fit: dict | None = None, **figures: object) -> Subject:
    """The same bundle with other figures, of its fit and of its evaluation."""
    record = replace(subject.fit, **fit or {})
    return replace(subject, evaluation=replace(subject.evaluation, fit=record, **figures))


def analyst_page(subject: Subject) -> str:
    """The analyst's page, with links to the other ones."""
    return analyst_html(subject, LINKS)


def marketing_page(subject: Subject) -> str:
    """Marketing's page, with links to the other ones."""
    return marketing_html(subject, LINKS)
