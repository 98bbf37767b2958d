"""The segments, how well separated they are, and how their number was chosen."""

from collections.abc import Sequence
from typing import Any

from engine.format import short, without_head
from engine.pages.blocks import Block, Card, Cards, Cell, Text, bullets, table
from engine.pages.format import THIN, count, decimal, listed, percent, plain, shown, unit_beside
from training.metrics.disclosure import MIN_USERS
from training.report.subject import Figures, Subject
from training.segments.counts import WORTH

SHOWN_INDEX = 4
SHOWN_UNIT = 12

AS_FITTED = (
    "Share, purchase rate and prediction are those of the users measured here. The descriptions of the "
    "segments and the choice of their number come from the fit."
)


def segments(subject: Subject) -> list[Block]:
    """One card per segment, their separation, and the choice of their number."""
    manifest = subject.manifest
    if not manifest.segments:
        return []
    blocks: list[Block] = [Text(subject.segments_sentence, strong=True)]
    if manifest.segments_usable:
        if subject.elsewhere:
            blocks.append(Text(AS_FITTED))
        blocks.append(Cards(tuple(_segment_card(s, subject) for s in manifest.segments)))
        figures = subject.segment_figures
        few = {number for number, found in figures.items() if found["purchase_rate"] is None}
        blocks += left_out([s.name for s in manifest.segments if s.id in few])
    clustering = subject.fit.clustering
    silhouette = subject.evaluation.segments.get("silhouette")
    if silhouette is not None:
        null, copula = (clustering.get(f"silhouette_{name}") for name in ("permuted", "copula"))
        against = f", against {decimal(null, 2)} if features were unrelated" if null else ""
        if null and copula:
            against += f" and {decimal(copula, 2)} if they were correlated without forming groups"
        blocks.append(
            Text(
                f"Silhouette on users not used for fitting: {decimal(silhouette, 2)}{against}. "
                "It runs from −1 to 1; segments of people overlap, so 0.2 to 0.4 is usual."
            )
        )
    blocks += bullets("Changes since the previous bundle", clustering.get("changes"))
    blocks += bullets("Use with care", clustering.get("reasons"))
    blocks += _choice_table(clustering)
    return blocks


def left_out(names: Sequence[str]) -> list[Block]:
    """A sentence on segments without figures, if there are any."""
    if not names:
        return []
    return [Text(f"Left out, with fewer than {MIN_USERS} measured users: {listed(names)}.")]


def _segment_card(segment: Any, subject: Subject) -> Card:  # noqa: ANN401 - engine.bundle.manifest.Segment
    profile = subject.fit.profiles.get(segment.id, {})
    rfm = subject.manifest.schema.rfm
    figures = subject.segment_figures.get(segment.id, {})
    titles = {"share": "Share of users", "purchase_rate": "Buy", "mean_probability": "Predicted"}
    facts = [
        (title, percent(figures[name]))
        for name, title in titles.items()
        if figures.get(name) is not None
    ]
    if rfm is not None:
        units = {feature.name: feature.unit for feature in subject.manifest.schema.features}
        facts += [
            (
                title := subject.titles.get(name, name),
                _with_unit(profile[key], title, units.get(name, "")),
            )
            for key, name in (
                ("spend", rfm.monetary),
                ("frequency", rfm.frequency),
                ("recency", rfm.recency),
            )
            if profile.get(key) is not None
        ]
    over, under = (
        tuple(_index_words(part) for part in (profile.get(side) or [])[:SHOWN_INDEX])
        for side in ("over", "under")
    )
    sentence = without_head(segment.sentence, segment.name)
    return Card(segment.name, sentence, tuple(facts), over, under)


def _with_unit(value: float, label: str, unit: str) -> str:
    """A value with its unit, unless the label names it."""
    beside = unit_beside(label, unit)
    return f"{plain(value)}{THIN}{short(shown(beside), SHOWN_UNIT)}" if beside else plain(value)


def _index_words(part: Figures) -> str:
    return part.get("words") or (
        f"{part.get('label') or part.get('feature')}: {plain(part.get('mean'))}, "
        f"overall {plain(part.get('overall_mean'))}"
    )


def _choice_table(clustering: Figures) -> list[Block]:
    tried = clustering.get("counts_tried") or []
    if len(tried) < 2:
        return []
    columns = (
        ("silhouette", "Silhouette", 3),
        ("silhouette_permuted", "Without structure", 3),
        ("agreement", "Agreement of refits, mean", 2),
        ("agreement_worst", "Worst", 2),
        ("actionability", "Actionable variance explained", 3),
        ("worth", f"Less {WORTH} for each segment", 3),
        ("smallest_share", "Smallest segment", None),
    )
    tried = [{**t, "worth": _worth(t)} for t in tried]
    present = [c for c in columns if any(isinstance(t.get(c[0]), float) for t in tried)]
    rows: list[tuple[str | Cell, ...]] = [
        (
            Cell(count(t.get("segments")), "chosen" if t.get("chosen") else ""),
            *(
                percent(t.get(key)) if decimals is None else decimal(t.get(key), decimals)
                for key, _, decimals in present
            ),
        )
        for t in tried
    ]
    chosen = [n for n, t in enumerate(tried) if t.get("chosen")]
    header = ("Segments", *(title for _, title, _ in present))
    return [table("Numbers of segments tried", header, rows, marked=chosen)]


def _worth(tried: Figures) -> float | None:
    """The figure by which a stable number of segments is chosen."""
    explained = tried.get("actionability")
    return None if explained is None else explained - WORTH * tried["segments"]
