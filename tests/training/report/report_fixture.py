"""A bundle with every figure that a report can show: invented, but of the right size."""

import math
from dataclasses import replace
from itertools import pairwise

from engine.bundle.evaluation import Evaluation, read_evaluation
from engine.bundle.manifest import BANDS, Manifest, Segment
from engine.bundle.open import open_bundle
from tests.helpers import BUNDLE
from training.report.subject import Subject

ROWS = 36_154
BASE_RATE = 0.18
SHARES = (0.30, 0.19, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.03)
NAMES = (
    ("Loyal app shoppers", "order 4 times a quarter and open 1 in 2 e-mails"),
    ("Bargain hunters", "buy mostly with a discount and leave 7 in 10 carts"),
    ("Window shoppers", "view many products and rarely buy"),
    ("Lapsed buyers", "spent well, and last ordered 200 days ago"),
    ("Newcomers", "joined in the last 60 days"),
    ("Quiet guests", "visit about once a month"),
)


def full_subject() -> Subject:
    bundle = open_bundle(BUNDLE)
    segments = tuple(
        Segment(n, name, 1 / 6, f"{name}: {words}.") for n, (name, words) in enumerate(NAMES, 1)
    )
    manifest = replace(bundle.manifest, segments=segments)
    return Subject(manifest, _evaluation(manifest, read_evaluation(bundle)), playbook())


def measured_as(subject: Subject, fit: dict | None = None, **figures: object) -> Subject:
    """The same bundle with other figures, of its fit and of its evaluation."""
    record = replace(subject.fit, **fit or {})
    return replace(subject, evaluation=replace(subject.evaluation, fit=record, **figures))


def _evaluation(manifest: Manifest, own: Evaluation) -> Evaluation:
    return Evaluation(
        bundle_id=manifest.bundle_id,
        data={"rows": ROWS, "users": ROWS, "snapshots": ["2026-11-22"], "what": "the test part"},
        cautions=(),
        metrics=_metrics(),
        segments={
            "silhouette": own.fit.clustering["silhouette"],
            "shares": {str(segment.id): 1 / 6 for segment in manifest.segments},
        },
        quality={
            "band": "good",
            "may_be_used": True,
            "sentence": "The model ranks users well and its probabilities can be taken at their word.",
            "reasons": ["The last decile is 0.6 points too optimistic."],
        },
        comparison=_comparison(),
        drivers=_drivers(manifest, own.drivers),
        drift=_drift(),
        fit=replace(
            own.fit,
            clustering={
                **own.fit.clustering,
                "changes": [
                    "Newcomers is new: its best match of last week shares 41 % of its users"
                ],
            },
            profiles={segment.id: _profile(segment.id) for segment in manifest.segments},
            leakage={
                "single_features": [
                    {"feature": "orders_last_90d", "roc_auc": 0.74, "suspicious": False}
                ],
                "shuffled_labels": {"roc_auc": 0.502},
                "reasons": [],
            },
            training={**own.fit.training, "users": 240_000},
            search=_search(),
        ),
    )


def _drift() -> dict:
    return {
        "rows": ROWS,
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


def playbook() -> dict:
    actions = ("No contact", "Reminder by e-mail", "Offer test: 10 % off", "Service message")
    rows = [
        {"segment_id": n, "segment_name": name, "band": band, "action": action}
        for n, (name, _) in enumerate(NAMES, start=1)
        for band, action in zip(BANDS, actions, strict=True)
    ]
    return {"version": 1, "rows": rows}


def _profile(number: int) -> dict:
    over = {"feature": "orders_last_90d", "label": "Orders", "mean": 4.0, "overall_mean": 1.3,
            "index": 3.1, "words": "Orders in the last 90 days: 4.0, others 1.3"}  # fmt: skip
    under = {"feature": "days_since_last_purchase", "label": "Days since the last purchase",
             "mean": 12.0, "overall_mean": 71.0, "index": 0.17, "words": ""}  # fmt: skip
    return {"spend": 812.4 / number, "recency": 12.0 * number, "frequency": 14.2 / number,
            "over": [over], "under": [under], "categories": []}  # fmt: skip


def _metrics() -> dict:
    deciles, reached = [], 0.0
    for n, share in enumerate(SHARES):
        reached += share
        deciles.append(
            {"deciles": [10 - n], "rows": 3_615, "probability_from": 0.5 - 0.05 * n,
             "mean_probability": share * 1.8, "purchase_rate": share * 1.8, "lift": share * 10,
             "share_of_buyers": share, "cumulative_share_of_buyers": reached,
             "cumulative_share_of_users": (n + 1) / 10,
             "cumulative_lift": reached * 10 / (n + 1)}
        )  # fmt: skip
    return {
        "rows": ROWS, "users": ROWS, "base_rate": BASE_RATE, "roc_auc": 0.8304, "pr_auc": 0.561,
        "log_loss": 0.36, "brier": 0.112, "calibration_error": 0.0041, "threshold": 0.29,
        "f1": 0.552, "precision": 0.51, "recall": 0.6, "best_possible_auc": 0.832,
        "share_of_best_auc": 0.998,
        "intervals": {"roc_auc": [0.825, 0.836], "calibration_error": [0.003, 0.006],
                      "f1": [0.54, 0.563]},
        "reliability": [
            {"rows": 1_807, "mean_probability": p, "purchase_rate": p + 0.01 * math.sin(9 * p),
             "low": p - 0.02, "high": p + 0.03}
            for p in (0.021 * 1.19**n for n in range(20))
        ],
        "deciles": deciles,
        "gains": [
            {"share": s, "share_of_buyers": b, "lift": b / s, "purchase_rate": BASE_RATE * b / s}
            for s, b in ((0.05, 0.18), (0.1, 0.30), (0.2, 0.49), (0.3, 0.61))
        ],
        "operating_points": [
            {"audience_share": s, "users": int(ROWS * s), "probability_from": 0.5 - s,
             "buyers_reached": int(ROWS * BASE_RATE * b), "share_of_buyers": b,
             "contacts_wasted": int(ROWS * (s - BASE_RATE * b)), "precision": BASE_RATE * b / s,
             **name}
            for s, b, name in ((0.05, 0.18, {}), (0.1, 0.3, {}), (0.2, 0.49, {}),
                               (0.211, 0.51, {"name": "threshold"}), (0.3, 0.61, {}))
        ],
        "slices": [
            {"slice": "country", "label": "Country", "value": value, "rows": 2_000 * n,
             "base_rate": 0.17 + 0.01 * n, "mean_probability": 0.172 + 0.01 * n,
             "roc_auc": 0.82 + 0.003 * n, "roc_auc_interval": [0.80, 0.85],
             "calibration_gap": 0.002 * (-1) ** n, "log_loss": 0.36}
            for n, value in enumerate(("DE", "FR", "PT", "not known"), start=1)
        ],
        "cells": [
            {"segment_id": n, "bands": bands, "rows": rows, "purchase_rate": rate,
             "mean_probability": rate}
            for n in range(1, 7)
            for bands, rows, rate in (
                (["low"], 3_100, 0.03), (["medium"], 1_800, 0.14),
                *([(["high", "very_high"], 912, 0.41)] if n == 6 else
                  [(["high"], 900, 0.39), (["very_high"], 300, 0.71)]),
            )
        ],
    }  # fmt: skip


def _drivers(manifest: Manifest, own: dict) -> dict:
    """The drivers of the bundle, each number with an S-shaped run of impacts."""
    found = []
    for feature in own["features"]:
        size = feature["mean_absolute_impact"]
        values = manifest.categories.get(feature["name"])
        if values:
            shape = [
                {"value": v, "rows": 900 - 10 * n, "mean_impact": size * math.cos(n)}
                for n, v in enumerate(values)
            ]
        else:
            cuts = [None, *range(1, 10), None]
            shape = [
                {"low": low, "high": high, "rows": 3_600, "mean_impact": size * math.tanh(n - 6)}
                for n, (low, high) in enumerate(pairwise(cuts))
            ]
        found.append({**feature, "dependence": shape if len(found) < 12 else []})
    return {**own, "features": found}


def _comparison() -> dict:
    ways = (
        ("model", "Purchase model", 0.830, 0.36, 0.30),
        ("segment_rate", "Segment purchase rate", 0.712, 0.42, 0.19),
        ("segment_feature", "Model with the segment as a feature", 0.830, 0.36, 0.30),
        ("together", "Model and segments together", 0.829, 0.361, 0.30),
    )
    dates = [f"2026-11-{day:02}" for day in (1, 8, 15)]
    return {
        "rows": ROWS, "base_rate": BASE_RATE, "fitted": [],
        "scores": [
            {"key": key, "name": name, "words": "", "roc_auc": auc, "log_loss": loss,
             "roc_auc_interval": [auc - 0.005, auc + 0.005],
             "gains": {"0.05": top / 1.7, "0.1": top, "0.2": top * 1.6, "0.3": top * 2},
             "difference": {"roc_auc": auc - 0.83} if key != "model" else None,
             "standard_error": {"roc_auc": 0.0004} if key != "model" else None}
            for key, name, auc, loss, top in ways
        ],
        "segments": [
            {"segment_id": n, "rows": 6_000, "purchase_rate": 0.4 / n,
             "mean_probability": 0.404 / n, "roc_auc": 0.78,
             "roc_auc_interval": [0.76, 0.80],
             "top_decile_lift": 3.0, "probability_p10": 0.02 + 0.1 / n,
             "probability_p50": 0.05 + 0.25 / n, "probability_p90": 0.2 + 0.5 / n}
            for n in range(1, 7)
        ],
        "variance": {
            "probability": 0.31,
            "drivers": [{"name": "orders_last_90d", "mean_absolute_impact": 0.4, "explained": 0.6},
                        {"name": "country", "mean_absolute_impact": 0.1, "explained": None}],
        },
        "stability": {
            "words": "",
            "weeks": [
                {"snapshot": date, "rows": 12_000, "purchase_rate": 0.18, "mean_probability": 0.18,
                 "roc_auc": {key: auc for key, _, auc, *_ in ways}}
                for date in dates
            ],
            "changes": [
                {"from": before, "to": after, "users": 12_000, "segment_changed": 0.12,
                 "band_changed": 0.25, "agreement": 0.77}
                for before, after in pairwise(dates)
            ],
        },
        "answer": [
            {"question": "Whom to contact?", "tool": "the purchase model",
             "why": "its top tenth holds 30 % of the buyers, that of the segments 19 %"},
            {"question": "What to say, and where?", "tool": "the segments",
             "why": "they differ in channel and in discounts, which the score does not show"},
        ],
        "neither": ["Whether a contact changes what a user does"],
        "would_change": ["A control group that shows effects by segment"],
    }  # fmt: skip


def _search() -> dict:
    return {
        "trials": [
            {"number": n, "name": f"depth {depth}", "rounds": 400,
             "parameters": {"depth": depth, "learning_rate": 0.05}, "trees": 800 // depth,
             "log_loss": 0.36 + 0.0002 * n, "difference": 0.0002 * n, "standard_error": 0.0001,
             "roc_auc": 0.8304 - 0.0003 * n, "cost": 1.0, "chosen": n == 0}
            for n, depth in enumerate((2, 3, 1))
        ],
        "baselines": [
            {"name": "base rate", "log_loss": 0.4714, "roc_auc": 0.5},
            {"name": "recency alone", "log_loss": 0.4451, "roc_auc": 0.672},
            {"name": "RFM score", "log_loss": 0.4302, "roc_auc": 0.713},
            {"name": "logistic regression", "log_loss": 0.3725, "roc_auc": 0.815},
        ],
        "budget": {}, "validation": {}, "depth_gain": {},
    }  # fmt: skip
