"""Describes a bundle for people: an overview or everything."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.bundle.evaluation import Evaluation, Json
from engine.bundle.manifest import BANDS, CHANCE, NONE, WEAK, Manifest, Segment
from engine.bundle.schema import Feature
from engine.errors import pluralize
from engine.format import plain_number, shown_name, table, without_head

HEADLINE = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "log_loss": "log-loss",
    "calibration_error": "calibration error",
    "f1": "F1",
}
DIRECTIONS = {
    "raises": "a higher value raises the score",
    "lowers": "a higher value lowers the score",
    "none": "no single direction",
}
SEGMENT_WORDS = {
    WEAK: "weak; use them with care",
    CHANCE: "no better than chance; scores and playbook do without them",
    NONE: "none; scores and playbook do without them",
}
SHOWN_HASH_DIGITS = 12
SHOWN_PART_DRIVERS = 3
SHOWN_DRIVERS = 10
OVERVIEW_DRIVERS = 5


def overview_lines(manifest: Manifest, evaluation: Evaluation) -> Iterator[str]:
    """The most important facts of a bundle, on one screen."""
    yield from _head(manifest, evaluation.quality)
    yield from _section("metrics on the test users", _metrics(evaluation.metrics, HEADLINE))
    yield from _section("thresholds", _thresholds(manifest))
    segments = table([_segment(segment) for segment in manifest.named_segments])
    yield from _section("segments and their shares of users", segments)
    drivers = evaluation.drivers["features"][:OVERVIEW_DRIVERS]
    yield from _section("top drivers, mean |SHAP value| in log-odds", _drivers(drivers))
    size = sum(entry.size_bytes for entry in manifest.files.values()) / 1e6
    yield ""
    yield (
        f"{pluralize(len(manifest.schema.model_features), 'feature')}, "
        f"{pluralize(len(manifest.files), 'file')}, {size:.1f} MB; for all details add --full"
    )


def full_lines(manifest: Manifest, evaluation: Evaluation) -> Iterator[str]:
    """Everything that a bundle says about itself."""
    yield from _head(manifest, evaluation.quality)
    metrics = evaluation.metrics
    yield from _section("metrics on the test users", _metrics(metrics, {n: n for n in metrics}))
    yield from _section("thresholds", _thresholds(manifest))
    deciles = ", ".join(f"{cut:.4f}" for cut in manifest.decile_cuts)
    yield from _section("deciles 2 to 10 start at", [deciles])
    yield from _section("segments and their shares of users", _described_segments(manifest))
    yield from _all_drivers(manifest, evaluation.drivers)
    features = manifest.schema.model_features
    yield from _section(f"{len(features)} features", table([_feature(f) for f in features]))
    yield from _section("parity with the native models", table([*_flat(evaluation.fit.parity)]))
    yield from _section("packages", table([*_flat(evaluation.fit.packages)]))
    files = [
        (name, f"{entry.size_bytes:,}", "bytes", f"SHA-256 {entry.sha256[:SHOWN_HASH_DIGITS]}…")
        for name, entry in sorted(manifest.files.items())
    ]
    yield from _section("files", table(files))


def playbook_lines(rows: Sequence[Mapping[str, Any]], manifest: Manifest) -> Iterator[str]:
    """The action for each segment and band; `rows` as in `playbook.json`."""
    actions: dict[str, dict[str, None]] = {}
    for row in rows:
        segment = f"{shown_name(row['segment_name'])} / " if manifest.segments_usable else ""
        actions.setdefault(row["action"], {})[f"{segment}{row['band']}"] = None
    lines = [line for action, cells in actions.items() for line in (action, *_indented(cells))]
    yield from _section("playbook", lines)


def _head(manifest: Manifest, quality: Json) -> Iterator[str]:
    """The bundle id, whether its scores may be used, their quality, and reasons against using them."""
    yield f"bundle {manifest.bundle_id} (format {manifest.format})"
    yield "MUST NOT BE USED" if manifest.unusable else "usable: passed every quality check"
    yield f"quality: {quality['sentence']}"
    of_segments = {f"segments: {reason}" for reason in manifest.segments_unusable}
    reasons = [reason for reason in quality["reasons"] if reason not in of_segments]
    yield from _indented(manifest.unusable or reasons)
    if manifest.segments_verdict in SEGMENT_WORDS:
        yield f"segments: {SEGMENT_WORDS[manifest.segments_verdict]}"
    yield from _indented(manifest.segments_unusable)


def _metrics(metrics: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    """The scalar metrics with their 95 % intervals."""
    intervals = metrics.get("intervals", {})
    rows = []
    for name, title in titles.items():
        value = metrics.get(name)
        if isinstance(value, int | float):
            low, high = intervals.get(name) or (None, None)
            interval = "" if low is None else f"{low:.4f} to {high:.4f}"
            rows.append(
                (title, f"{value:,}" if isinstance(value, int) else f"{value:.4f}", interval)
            )
    has_intervals = any(interval for _, _, interval in rows)
    yield from table(rows, ("", "", "95 % interval") if has_intervals else ())
    yield from metrics.get("suppressed", ())


def _thresholds(manifest: Manifest) -> Iterator[str]:
    cuts = zip(BANDS[1:], manifest.band_cuts, strict=True)
    yield f"will purchase from {manifest.threshold:.4f}"
    yield "bands: " + ", ".join(f"{band} from {cut:.4f}" for band, cut in cuts)


def _segment(segment: Segment) -> tuple[str, str, str]:
    return str(segment.id), shown_name(segment.name), f"{segment.share:.1%}"


def _described_segments(manifest: Manifest) -> Iterator[str]:
    rows = table([_segment(segment) for segment in manifest.named_segments])
    for row, segment in zip(rows, manifest.named_segments, strict=True):
        yield row
        if segment.sentence:
            yield f"   {without_head(segment.sentence, segment.name)}"


def _all_drivers(manifest: Manifest, report: Json) -> Iterator[str]:
    yield from _section(
        "drivers, mean |SHAP value| in log-odds", _drivers(report["features"][:SHOWN_DRIVERS])
    )
    groups = sorted(report["groups"].items(), key=lambda found: -found[1])
    yield from _section(
        "drivers by group", table([(shown_name(name), f"{mean:.3f}") for name, mean in groups])
    )
    segments = {str(segment.id): segment.name for segment in manifest.named_segments}
    bands = {band: band for band in BANDS}
    for part, key, names in (("segment", "segments", segments), ("band", "bands", bands)):
        yield from _section(f"top drivers by {part}", table([*_top(report[key], names)]))


def _drivers(drivers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    means = [(each["name"], f"{each['mean_absolute_impact']:.3f}", each) for each in drivers]
    return table([(shown_name(name), mean, _direction(each)) for name, mean, each in means])


def _direction(driver: Mapping[str, Any]) -> str:
    return DIRECTIONS.get(driver["direction"]) or (
        f"{shown_name(driver.get('raises_most', ''))} raises it most, "
        f"{shown_name(driver.get('lowers_most', ''))} lowers it most"
    )


def _top(parts: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The largest mean impacts of each part, in the order of `names`."""
    for part, name in names.items():
        # Suppressed if a part has too few users.
        known = [found for found in (parts.get(part) or {}).items() if found[1] is not None]
        largest = sorted(known, key=lambda found: -found[1])[:SHOWN_PART_DRIVERS]
        if largest:
            means = ", ".join(f"{shown_name(feature)} {mean:.3f}" for feature, mean in largest)
            yield shown_name(name), means


def _feature(feature: Feature) -> tuple[str, ...]:
    if feature.kind == "categorical":
        # Values that the schema does not list are learned from the data.
        what = f"{len(feature.values)} values" if feature.values else ""
    else:
        what = f"{_bounds(feature)} {shown_name(feature.unit)}".strip()
    return shown_name(feature.name), feature.kind, what, f"missing {feature.missing}"


def _bounds(feature: Feature) -> str:
    low, high = (None if end is None else plain_number(end) for end in (feature.min, feature.max))
    if low is None:
        return "" if high is None else f"up to {high}"
    return f"from {low}" if high is None else f"{low} to {high}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            yield f"{prefix}{name}", f"{value:.3g}"
        elif isinstance(value, str | int):
            yield f"{prefix}{name}", f"{value:,}" if isinstance(value, int) else value


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A title and its lines; nothing if there are no lines."""
    found = [*_indented(lines)]
    if found:
        yield from ("", title, *found)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
