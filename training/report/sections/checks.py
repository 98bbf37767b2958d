"""Threats to the figures: leakage and drift."""

from engine.explain.drift import moved
from engine.pages.blocks import Block, Bullets, Cell, Text, bullets, table
from engine.pages.format import decimal, listed, percent, sentence, shown
from training.report.subject import Figures, Subject

SHOWN_DRIFT = 20


def leakage(subject: Subject) -> list[Block]:
    """Single features that predict suspiciously well, and the test with shuffled labels."""
    found = subject.fit.leakage
    if not found:
        return []
    reasons = [
        sentence(reason) for name in ("reasons", "cautions") for reason in found.get(name) or []
    ]
    blocks: list[Block] = (
        [Bullets(tuple(reasons))] if reasons else [Text("No sign of leakage was found.")]
    )
    singles = found.get("single_features") or []
    strongest = sorted(singles, key=lambda f: (-(f.get("roc_auc") or 0), f["feature"]))[:3]
    if strongest:
        named = [
            f"{shown(subject.titles.get(f['feature'], f['feature']))} "
            f"({decimal(f.get('roc_auc'), 2)})"
            for f in strongest
        ]
        blocks.append(Text(f"Highest ROC-AUC of a single feature: {listed(named)}."))
    shuffled = (found.get("shuffled_labels") or {}).get("roc_auc")
    if shuffled is not None:
        blocks.append(
            Text(
                f"With shuffled labels, the same procedure reaches a ROC-AUC of {decimal(shuffled, 2)}; it "
                "should reach 0.50."
            )
        )
    return blocks


def drift(subject: Subject) -> list[Block]:
    """How far the measured users differ from the training users."""
    found = subject.evaluation.drift
    if not found:
        return []
    parts = sorted(found.get("features") or [], key=lambda f: (-(f.get("psi") or 0), f["name"]))
    alarms = [f for f in parts if f.get("level") in ("warn", "alarm")]
    finding = (
        f"{len(alarms)} of {len(parts)} features have moved away from training."
        if alarms
        else "The users resemble those of training."
    )
    whole = [
        (Cell(title), decimal((found.get(key) or {}).get("psi")), _level(found.get(key) or {}), "")
        for key, title in (("score", "The score"), ("segments", "The segments"))
    ]
    titles = subject.titles
    features = [
        (Cell(titles.get(f["name"], f["name"])), decimal(f.get("psi")), _level(f), _missing(f))
        for f in parts[:SHOWN_DRIFT]
    ]
    changes = [f"{titles.get(f['name'], f['name'])}: {f['words']}" for f in moved(found)]
    return [
        Text(finding, strong=True),
        *bullets("What has moved", changes[:SHOWN_DRIFT]),
        table(
            "Population stability index against training, largest first",
            ("What", "Index", "Level", "Missing, training and now"),
            [*whole, *features],
            words=(0, 2, 3),
        ),
    ]


def _level(found: Figures) -> str:
    words = {"none": "steady", "warn": "has moved", "alarm": "has moved far"}
    return words.get(str(found.get("level")), "–")


def _missing(found: Figures) -> str:
    then, now = found.get("missing_reference"), found.get("missing")
    return "" if then is None or now is None else f"{percent(then)}, {percent(now)}"
