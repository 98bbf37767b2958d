"""What else was tried: simple rules and other models."""

from training.report.blocks import Block, Cell, table
from training.report.subject import Figures, Subject
from training.report.words import count, decimal

SHOWN_TRIALS = 30


def trials(subject: Subject) -> list[Block]:
    """The models that were tried and the baselines beside them."""
    record = subject.manifest.training.get("classifier") or {}
    blocks: list[Block] = []
    chosen = [{"name": "this model", **subject.metrics}] if subject.metrics else []
    baselines = record.get("baselines") or []
    if baselines:
        blocks.append(
            table(
                "Simple rules beside this model",
                ("Model", "Log-loss", "ROC-AUC"),
                [
                    (b["name"], decimal(b.get("log_loss"), 4), decimal(b.get("roc_auc")))
                    for b in [*baselines, *chosen]
                ],
                marked=[len(baselines)] if chosen else [],
            )
        )
    tried = record.get("trials") or []
    best = sorted(tried, key=lambda t: (not t.get("chosen"), _sortable(t.get("log_loss"))))
    best = best[:SHOWN_TRIALS]
    if best:
        blocks.append(
            table(
                f"The {len(best)} best of {len(tried)} models tried, on validation users",
                ("Model", "Trees", "Log-loss", "Behind the best", "ROC-AUC"),
                [
                    (
                        Cell(str(t.get("name") or t.get("number")), _parameters(t)),
                        count(t.get("trees") or t.get("rounds")),
                        decimal(t.get("log_loss"), 5),
                        decimal(t.get("difference"), 5),
                        decimal(t.get("roc_auc"), 4),
                    )
                    for t in best
                ],
                marked=[n for n, t in enumerate(best) if t.get("chosen")],
            )
        )
    return blocks


def _sortable(number: float | None) -> float:
    return float("inf") if number is None else number


def _parameters(trial: Figures) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in (trial.get("parameters") or {}).items()
    )
