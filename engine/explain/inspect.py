"""What a bundle holds, in words: `engine inspect`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.bundle.evaluation import Evaluation, Figures
from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.schema import Feature
from engine.format import plain_number, shown_name, without_head

SHOWN_HASH_DIGITS = 12
SHOWN_PART_DRIVERS = 3
SHOWN_DRIVERS = 10


def inspect_lines(manifest: Manifest, evaluation: Evaluation) -> Iterator[str]:
    """What a bundle holds, line by line, for people."""
    yield f"bundle {manifest.bundle_id} (format {manifest.format})"
    yield from _verdict(manifest, evaluation.quality)
    yield from _section("metrics on the test users", _metrics(evaluation.metrics))
    yield from _section("thresholds", _thresholds(manifest))
    yield from _section("segments", _segments(manifest))
    yield from _driver_sections(manifest, evaluation.drivers)
    features = manifest.schema.model_features
    yield from _section(f"{len(features)} features", map(_feature_line, features))
    yield from _section("parity with the native models", _flat(evaluation.fit.parity))
    yield from _section("packages", _flat(evaluation.fit.packages))
    yield from _section(
        "files",
        (
            f"{name}  {entry.size_bytes:,} bytes  SHA-256 {entry.sha256[:SHOWN_HASH_DIGITS]}…"
            for name, entry in sorted(manifest.files.items())
        ),
    )


def playbook_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The actions and their segments and bands; `rows` as in `playbook.json`."""
    actions: dict[str, list[str]] = {}
    for row in rows:
        actions.setdefault(row["action"], []).append(
            f"{shown_name(row['segment_name'])} / {row['band']}"
        )
    yield from _section("playbook", _actions(actions))


def _actions(actions: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for action, cells in actions.items():
        yield action
        yield from (f"  {cell}" for cell in cells)


def _verdict(manifest: Manifest, quality: Figures) -> Iterator[str]:
    """Whether the scores may be used, how good they are, and what speaks against them."""
    yield "MUST NOT BE USED" if manifest.unusable else "may be used"
    yield f"quality: {quality['sentence']}"
    yield from (f"  {reason}" for reason in manifest.unusable or quality["reasons"])


def _metrics(metrics: Figures) -> Iterator[str]:
    """The figures that are one number, with their 95 % intervals."""
    intervals = metrics.get("intervals", {})
    for name, value in metrics.items():
        if isinstance(value, int | float):
            interval = intervals.get(name)
            ends = f"  ({interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
            yield f"{name}: {value:.6g}{ends}"
    yield from metrics.get("withheld", ())


def _segments(manifest: Manifest) -> Iterator[str]:
    for segment in manifest.segments:
        yield f"{segment.id}  {shown_name(segment.name)}  {segment.share:.1%} of users"
        if segment.sentence:
            yield f"   {without_head(segment.sentence, segment.name)}"


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield ""
    yield title
    for line in lines:
        yield f"  {line}"


def _thresholds(manifest: Manifest) -> Iterator[str]:
    yield f"will purchase from probability {manifest.threshold:.4f}"
    for band, cut in zip(BANDS[1:], manifest.band_cuts, strict=True):
        yield f"band {band} from {cut:.4f}"
    yield "deciles 2 – 10 from " + ", ".join(f"{cut:.4f}" for cut in manifest.decile_cuts)


def _driver_sections(manifest: Manifest, drivers: Figures) -> Iterator[str]:
    yield from _section("drivers, mean absolute impact in log-odds", _drivers(drivers))
    groups = sorted(drivers["groups"].items(), key=lambda found: -found[1])
    yield from _section(
        "drivers by group", (f"{shown_name(name)}  {mean:.3f}" for name, mean in groups)
    )
    segments = {str(segment.id): segment.name for segment in manifest.segments}
    yield from _section("largest drivers by segment", _largest(drivers["segments"], segments))
    bands = {band: band for band in BANDS}
    yield from _section("largest drivers by band", _largest(drivers["bands"], bands))


def _drivers(report: Figures) -> Iterator[str]:
    words = {
        "raises": "a higher value raises the score",
        "lowers": "a higher value lowers the score",
        "none": "no single direction",
    }
    for found in report["features"][:SHOWN_DRIVERS]:
        effect = words.get(found["direction"]) or (
            f"{shown_name(found.get('raises_most', ''))} raises it most, "
            f"{shown_name(found.get('lowers_most', ''))} lowers it most"
        )
        yield f"{shown_name(found['name'])}  {found['mean_absolute_impact']:.3f}  {effect}"


def _largest(parts: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """The largest means of each part, in the order of `names`."""
    for part, name in names.items():
        # Suppressed where a part has too few users.
        known = [found for found in (parts.get(part) or {}).items() if found[1] is not None]
        largest = sorted(known, key=lambda found: -found[1])[:SHOWN_PART_DRIVERS]
        if largest:
            shown = ", ".join(f"{shown_name(feature)} {mean:.3f}" for feature, mean in largest)
            yield f"{shown_name(name)}  {shown}"


def _feature_line(feature: Feature) -> str:
    if feature.kind == "categorical":
        # Without values in the schema they are learned from the data.
        what = f"{len(feature.values)} values" if feature.values else ""
    else:
        what = f"{_bounds(feature)} {shown_name(feature.unit)}".strip()
    missing = f"missing {feature.missing}"
    return "  ".join(filter(None, (shown_name(feature.name), feature.kind, what, missing)))


def _bounds(feature: Feature) -> str:
    low, high = (None if end is None else plain_number(end) for end in (feature.min, feature.max))
    if low is None:
        return "" if high is None else f"up to {high}"
    return f"from {low}" if high is None else f"{low} – {high}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            yield f"{prefix}{name}: {value:.6g}"
        elif isinstance(value, str | int):
            yield f"{prefix}{name}: {value}"
