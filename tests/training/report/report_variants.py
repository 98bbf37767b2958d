"""Reports at the edges of what a bundle can be: hostile names, one segment, very many figures, none."""

from dataclasses import replace

from engine.bundle.manifest import BANDS, CHANCE, Segment
from tests.training.report.report_fixture import full_subject, histogram_of, measured_as
from training.report.subject import Subject

HOSTILE = "<script>alert(1)</script>=cmd|' /C calc'\u202eevil\u200f"
LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlungsstellenvorsteher "
HUGE = "x" * 1_000_000


def named(name: str) -> Subject:
    """A full report in which every name from outside is this one."""
    subject = full_subject()
    manifest = subject.manifest
    features = tuple(
        replace(f, label=name, group=name, unit=name) for f in manifest.schema.features
    )
    segments = tuple(replace(s, name=name, sentence=name) for s in manifest.segments)
    slices = [{**s, "label": name, "value": name} for s in subject.metrics["slices"][:4]]
    profiles = {
        number: _named_profile(found, name) for number, found in subject.fit.profiles.items()
    }
    rows = [{**r, "segment_name": name, "action": name} for r in subject.playbook["rows"]]
    renamed = replace(
        subject,
        manifest=replace(
            manifest, schema=replace(manifest.schema, features=features), segments=segments
        ),
        playbook={**subject.playbook, "rows": rows},
    )
    return measured_as(
        renamed,
        fit={"profiles": profiles},
        metrics={**subject.metrics, "slices": slices},
        drivers=_named_drivers(subject.drivers, name),
    )


def many_segments() -> Subject:
    """Eight segments, the most that a fit makes, with names too long for a line."""
    subject = full_subject()
    manifest = subject.manifest
    names = [LONG.strip() if n % 2 else LONG * 2 for n in range(8)]
    segments = tuple(
        Segment(n, f"{name} {n}", 1 / 8, f"{name}: {name}.")
        for n, name in enumerate(names, start=1)
    )
    cells = [
        {
            "segment_id": n,
            "bands": [band],
            "rows": 1_234_567,
            "purchase_rate": 0.5,
            "mean_probability": 0.5,
        }
        for n in range(1, 9)
        for band in BANDS
    ]
    spread = subject.comparison["segments"][0]
    profiles = {segment.id: subject.fit.profiles[1] for segment in segments}
    rows = [
        {**row, "segment_id": n}
        for n in range(1, 9)
        for row in subject.playbook["rows"][: len(BANDS)]
    ]
    return measured_as(
        replace(
            subject,
            manifest=replace(manifest, segments=segments),
            playbook={**subject.playbook, "rows": rows},
        ),
        fit={"profiles": profiles},
        metrics={**subject.metrics, "cells": cells, "histogram": histogram_of(range(1, 9))},
        comparison={
            **subject.comparison,
            "segments": [{**spread, "segment_id": n} for n in range(1, 9)],
        },
    )


def one_segment() -> Subject:
    """No segments to speak of."""
    subject = full_subject()
    kept = subject.manifest.segments[:1]
    cells = [c for c in subject.metrics["cells"] if c["segment_id"] == kept[0].id]
    single = replace(subject, manifest=replace(subject.manifest, segments=kept))
    metrics = {**subject.metrics, "cells": cells, "histogram": histogram_of([kept[0].id])}
    return measured_as(single, drift={}, metrics=metrics)


def features_in_all(count: int) -> Subject:
    """So many features in the schema, the drivers and the drift."""
    subject = full_subject()
    manifest = subject.manifest
    schema = manifest.schema
    features = tuple(
        replace(schema.features[n % 2], name=f"feature_{n:03}", label="") for n in range(count)
    )
    drivers = subject.drivers["features"]
    found = [
        {
            **drivers[n % len(drivers)],
            "name": f"feature_{n:03}",
            "dependence": drivers[0]["dependence"],
        }
        for n in range(count)
    ]
    drifted = [
        {"name": f.name, "psi": 0.2, "level": "warn", "missing": 0.1, "missing_reference": 0.2,
         "words": "has higher values than in training"}
        for f in features
    ]  # fmt: skip
    return measured_as(
        replace(subject, manifest=replace(manifest, schema=replace(schema, features=features))),
        drivers={**subject.drivers, "features": found},
        drift={**subject.evaluation.drift, "features": drifted},
    )


def many_slices() -> Subject:
    """Two hundred parts of the users."""
    subject = full_subject()
    part = subject.metrics["slices"][0]
    found = [{**part, "value": f"Region {n}"} for n in range(200)]
    return measured_as(subject, drift={}, metrics={**subject.metrics, "slices": found})


def few_users() -> Subject:
    """A measurement in which every group has fewer than 20 users."""
    subject = full_subject()
    metrics = {
        name: [] if isinstance(value, list) else value for name, value in subject.metrics.items()
    }
    metrics["intervals"] = dict.fromkeys(subject.metrics["intervals"])
    metrics |= dict.fromkeys(("f1", "precision", "recall"))
    metrics["histogram"] = {"width": 0.025, "rows": [0], "expected_buyers": [0.0], "segments": []}
    metrics["suppressed"] = ["F1, precision and recall are left out"]
    drivers = [{**f, "dependence": []} for f in subject.drivers["features"]]
    spread = [
        {**dict.fromkeys(part), "segment_id": part["segment_id"]}
        for part in subject.comparison["segments"]
    ]
    return measured_as(
        subject,
        fit={"profiles": {}},
        metrics=metrics,
        drivers={**subject.drivers, "features": drivers},
        comparison={**subject.comparison, "segments": spread},
    )


def with_money() -> Subject:
    """A playbook that knows what an order brings, and plans its tests."""
    subject = full_subject()
    counted = {"rows": [1_000] * 4, "expected_buyers": [50.0, 200.0, 500.0, 900.0]}
    segments = [{"segment_id": segment.id, **counted} for segment in subject.manifest.segments]
    every = {name: [len(segments) * n for n in numbers] for name, numbers in counted.items()}
    histogram = {"width": 0.25, **every, "segments": segments}
    economics = {
        "currency": "USD",
        "margin": 0.3,
        "order_value": 80,
        "order_value_feature": None,
        "cost_per_contact": {"e-mail": 0.002, "paid": 2.0},
    }
    test = (
        "A test of +10 % needs 24,000 users; the bands low, medium and high together have 20,000."
    )
    own = {"order_value": 80, "test": test, "channel": "paid", "cost_per_contact": 2.0}
    rows = [{**row, **own} for row in subject.playbook["rows"]]
    playbook = {"population": 240_000, "currency": "USD", "economics": economics, "rows": rows}
    return measured_as(
        replace(subject, playbook=playbook), metrics={**subject.metrics, "histogram": histogram}
    )


def segments_of_chance() -> Subject:
    """Segments that show no groups: the bands alone count, in all sections."""
    subject = with_money()
    bands = [
        {"bands": found, "rows": 9_000, "purchase_rate": rate, "mean_probability": rate}
        for found, rate in ((["low"], 0.04), (["medium"], 0.2), (["high", "very_high"], 0.6))
    ]
    rows = [{**row, "action": f"Act on {row['band']}"} for row in subject.playbook["rows"]]
    chance = replace(
        subject,
        manifest=replace(subject.manifest, segments_verdict=CHANCE),
        playbook={**subject.playbook, "rows": rows},
    )
    return measured_as(chance, metrics={**subject.metrics, "bands": bands})


def scores_of_merit(top: float) -> Subject:
    """A tenth of the users with so large a share of the buyers; the others buy alike."""
    subject = full_subject()
    m = subject.metrics
    shares = [top, *[(1 - top) / 9] * 9]
    deciles = [
        {**d, "share_of_buyers": share, "purchase_rate": share * 10 * 0.08, "lift": share * 10,
         "cumulative_share_of_buyers": sum(shares[: n + 1]),
         "cumulative_share_of_users": (n + 1) / 10,
         "cumulative_lift": sum(shares[: n + 1]) * 10 / (n + 1)}
        for n, (d, share) in enumerate(zip(m["deciles"], shares, strict=True))
    ]  # fmt: skip
    gains = [
        {**g, "share_of_buyers": top + (1 - top) / 0.9 * (g["share"] - 0.1)}
        if g["share"] >= 0.1 else {**g, "share_of_buyers": g["share"] * 10 * top}
        for g in m["gains"]
    ]  # fmt: skip
    changed = {**m, "deciles": deciles, "gains": gains, "base_rate": 0.08}
    return measured_as(subject, drift={}, metrics=changed)


def nothing_measured() -> Subject:
    """A bundle of models alone."""
    subject = full_subject()
    manifest = replace(subject.manifest, segments=subject.manifest.segments[:1])
    nothing = ("training", "search", "clustering", "profiles", "leakage", "parity")
    empty = ("data", "metrics", "segments", "drivers", "drift", "comparison", "quality")
    bare = measured_as(subject, fit={name: {} for name in nothing}, **{name: {} for name in empty})
    return replace(bare, manifest=manifest, playbook={})


VARIANTS = {
    "full": full_subject,
    "hostile names": lambda: named(HOSTILE),
    "long names": lambda: named(LONG),
    "huge names": lambda: named(HUGE),
    "8 segments": many_segments,
    "1 segment": one_segment,
    "2 features": lambda: features_in_all(2),
    "500 features": lambda: features_in_all(500),
    "200 slices": many_slices,
    "useless scores": lambda: scores_of_merit(0.1),
    "nearly perfect scores": lambda: scores_of_merit(0.9999),
    "few users": few_users,
    "money": with_money,
    "chance": segments_of_chance,
    "nothing measured": nothing_measured,
}


def _named_profile(profile: dict, name: str) -> dict:
    over = [{**part, "label": name, "words": ""} for part in profile["over"][:1]]
    return {**profile, "over": over, "under": over}


def _named_drivers(drivers: dict, name: str) -> dict:
    """Every category with the same name, every group of features too."""
    found = [
        {
            **f,
            "dependence": [
                {**p, "value": name} if "value" in p else p for p in f.get("dependence", ())
            ],
        }
        for f in drivers["features"]
    ]
    by_value = {"direction": "by value", "raises_most": name, "lowers_most": name}
    return {
        **drivers,
        "features": [{**found[0], **by_value}, *found[1:]],
        "groups": {name: 0.6, "behaviour": 0.4},
    }
