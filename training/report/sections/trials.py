"""What else was tried: baselines and other models, validated on the same users."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from engine.pages.blocks import Block, Cell, Text, table
from engine.pages.format import UNKNOWN, count, decimal
from training.model.trees import Settings
from training.report.subject import Figures, Subject

SHOWN_TRIALS = 30
_SETTINGS = tuple(each.name for each in fields(Settings))

Row = tuple[str | Cell, ...]


def trials(subject: Subject) -> list[Block]:
    """The models that were tried, the baselines, and the gain of interactions."""
    record = subject.fit.search
    tried = record.get("trials") or []
    if not tried:
        return []
    losses = [math.inf if t.get("log_loss") is None else t["log_loss"] for t in tried]
    order = sorted(range(len(tried)), key=lambda n: (not tried[n].get("chosen"), losses[n]))
    best = [tried[n] for n in order[:SHOWN_TRIALS]]
    other = record.get("unrestricted")
    standard = [_row(other, count(other.get("trees")), "no exact drivers")] if other else []
    rules = [_row(rule, UNKNOWN, "") for rule in record.get("baselines") or []]
    models = [_row(t, count(t.get("trees")), _parameters(t)) for t in best]
    shown = f"The {len(best)} best of {len(tried)} models" if len(best) < len(tried) else "Models"
    blocks: list[Block] = [
        table(
            f"{shown} tried in the fit, and baselines, validated on the same users",
            ("Model", "Trees", "Log-loss", "ROC-AUC"),
            [*models, *standard, *rules],
            marked=[n for n, t in enumerate(best) if t.get("chosen")],
        )
    ]
    worth = worth_of_exact_drivers(record)
    return [*_depth_gain(record.get("depth_gain")), *([Text(worth)] if worth else []), *blocks]


def worth_of_exact_drivers(search: Figures) -> str:
    """What exact drivers cost in worth: the chosen model beside LightGBM without limits; or ""."""
    other = search.get("unrestricted")
    if not other:
        return ""
    gap, error = -other["difference"], other["standard_error"]
    if gap <= error:
        return (
            "Exact drivers cost nothing that can be measured: LightGBM with any number of features on "
            f"a path has a log-loss of {decimal(other['log_loss'], 4)}, {decimal(abs(gap), 4)} "
            f"{'lower' if gap > 0 else 'higher'} (standard error {decimal(error, 4)})."
        )
    return (
        f"LightGBM with any number of features on a path, which has no exact drivers, has a log-loss "
        f"{decimal(gap, 4)} lower (standard error {decimal(error, 4)}). More --trials may find trees "
        "that come closer, and so may a higher --max-cost."
    )


def _row(judged: Figures, trees: str, note: str) -> Row:
    return (
        Cell(str(judged["name"]), note),
        trees,
        decimal(judged.get("log_loss"), 4),
        decimal(judged.get("roc_auc"), 4),
    )


def _depth_gain(gain: Mapping[str, Any] | None) -> Sequence[Text]:
    """What interactions add."""
    if not gain or gain.get("roc_auc") is None:
        return ()
    words = (
        f"Trees in which features interact reach a ROC-AUC {decimal(gain['roc_auc'], 4)} above that "
        "of trees with one feature each (standard error "
        f"{decimal(gain['roc_auc_standard_error'], 4)})."
    )
    return (Text(words),)


def _parameters(trial: Figures) -> str:
    words = ["chosen"] if trial.get("chosen") else []
    words += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in sorted((trial.get("parameters") or {}).items(), key=_place)
        if value is not None
    ]
    if trial.get("log_loss") is None:
        words.append("clearly worse in the first folds, so stopped")
    return ", ".join(words)


def _place(parameter: tuple[str, Any]) -> tuple[int, str]:
    """The position of a setting in `Settings`, whatever the order of a manifest's keys."""
    name = parameter[0]
    return (_SETTINGS.index(name) if name in _SETTINGS else len(_SETTINGS)), name
