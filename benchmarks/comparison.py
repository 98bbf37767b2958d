"""Measure the tables of docs/supervised_vs_unsupervised.md.

Usage: python -m benchmarks.comparison [BUNDLE] [--into docs/supervised_vs_unsupervised.md]

The first tables come from the bundle's evaluation on its own test part. The drift and week tables
simulate new users. The last table reads the Online Shoppers data from the folder named by REAL_DATA;
without that variable the table stays unchanged.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contenders import BUNDLE
from benchmarks.report import write_between

SEED = 8
DRIFTS = (0.0, 0.5, 1.0)
DRIFT_ROWS = 60_000
FIRST_DATE = date(2026, 11, 22)
WEEKS = 5
WEEK_ROWS = 20_000
GAINS = ("0.05", "0.1", "0.2", "0.3")


def strategies_table(comparison: dict) -> str:
    """Four strategies on the same users."""
    from engine.pages.format import percent

    head = (
        "| strategy | ROC-AUC (95 % CI) | vs. model | log-loss | vs. model "
        "| buyers in top 5 % | 10 % | 20 % | 30 % |\n"
    )
    rows = [
        [
            way["name"],
            f"{way['roc_auc']:.4f} ({_interval(way['roc_auc_interval'], 4)})",
            _difference(way, "roc_auc", 4),
            f"{way['log_loss']:.4f}",
            _difference(way, "log_loss", 5),
            *(percent(way["gains"][share]) for share in GAINS),
        ]
        for way in comparison["scores"]
    ]
    return head + _rows(rows, 9)


def inside_table(comparison: dict, names: dict[int, str]) -> str:
    """How the score ranks within each segment, and the variance that segments explain."""
    from engine.pages.format import decimal, percent, whole_percent

    head = (
        "| segment | users | purchase rate | predicted probability, p10 – p50 – p90 "
        "| ROC-AUC within (95 % CI) | top-decile lift |\n"
    )
    rows = [
        [
            names[s["segment_id"]],
            f"{s['rows']:,}",
            percent(s["purchase_rate"]),
            " – ".join(percent(s[f"probability_p{n}"]) for n in (10, 50, 90)),
            f"{decimal(s['roc_auc'], 3)} ({_interval(s['roc_auc_interval'], 3)})",
            decimal(s["top_decile_lift"], 1),
        ]
        for s in comparison["segments"]
    ]
    variance = comparison["variance"]
    drivers = ", ".join(
        f"`{d['name']}` {whole_percent(d['explained'])}" for d in variance["drivers"][:8]
    )
    return (
        f"{head}{_rows(rows, 6)}\nSegments explain {whole_percent(variance['probability'])} of the "
        "variance of the probability. Of the impacts of the eight strongest drivers they explain: "
        f"{drivers}.\n"
    )


def answers_table(comparison: dict) -> str:
    """The answers that `training.compare.answers` derives from the figures."""
    lines = ["| question | use | why |", "|---|---|---|"]
    lines += [f"| {a['question']} | {a['tool']} | {a['why']} |" for a in comparison["answer"]]
    lines += ["", "Questions that neither answers:", ""]
    lines += [f"- {text.rstrip('.')}." for text in comparison["neither"]]
    lines += ["", "What would change these answers:", ""]
    lines += [f"- {text.rstrip('.')}." for text in comparison["would_change"]]
    return "\n".join(lines) + "\n"


def drift_table(bundle: Path, folder: Path) -> str:
    """The strategies that need no refit, on users who have drifted."""
    from engine.pages.format import percent

    rows = []
    for drift in DRIFTS:
        found = evaluated(bundle, [simulated(folder, DRIFT_ROWS, FIRST_DATE, drift=drift)])
        model, rate, together = found["scores"]
        rows.append(
            [
                f"{drift:g}",
                percent(found["base_rate"]),
                *(f"{way['roc_auc']:.4f}" for way in (model, rate, together)),
                _difference(rate, "roc_auc", 4),
                *(f"{way['log_loss']:.4f}" for way in (model, rate, together)),
            ]
        )
    head = (
        "| drift | purchase rate | ROC-AUC: model | segment rate | together | segment rate vs. model "
        "| log-loss: model | segment rate | together |\n"
    )
    return head + _rows(rows, 9)


def weeks_table(bundle: Path, folder: Path) -> str:
    """The same users on five dates."""
    from engine.pages.format import percent

    last = FIRST_DATE + timedelta(weeks=WEEKS - 1)
    found = evaluated(bundle, [simulated(folder, WEEK_ROWS, last, weeks=WEEKS)])
    changes = [["", "", ""]]
    changes += [
        [percent(c["segment_changed"]), percent(c["band_changed"]), f"{c['agreement']:.3f}"]
        for c in found["stability"]["changes"]
    ]
    rows = [
        [
            week["snapshot"],
            percent(week["purchase_rate"]),
            *(f"{week['roc_auc'][key]:.4f}" for key in ("model", "segment_rate", "together")),
            *moved,
        ]
        for week, moved in zip(found["stability"]["weeks"], changes, strict=True)
    ]
    head = (
        "| date | purchase rate | ROC-AUC: model | segment rate | together | changed segment "
        "| changed band | adjusted Rand index |\n"
    )
    return head + _rows(rows, 8)


def shoppers_table(data: Path, folder: Path) -> str:
    """Real sessions, with and without `PageValues`, which is close to the label."""
    from benchmarks.online_shoppers import TABLE, schema_of
    from engine.pages.format import whole_percent
    from training.pipeline import FitOptions, fit

    rows = []
    for title, page_values in (("with `PageValues`", True), ("without `PageValues`", False)):
        options = FitOptions(schema_of(page_values=page_values))
        found = fit(
            [str(data / TABLE)], options, folder / f"shoppers{page_values}"
        ).evaluation.comparison
        model, *others = found["scores"]
        rows.append(
            [
                title,
                f"{found['rows']:,}",
                f"{model['roc_auc']:.3f} ({_interval(model['roc_auc_interval'], 3)})",
                f"{others[0]['roc_auc']:.3f}",
                *(_difference(way, "roc_auc", 4) for way in others),
                whole_percent(found["variance"]["probability"]),
            ]
        )
    head = (
        "| Online Shoppers | test rows | ROC-AUC of model (95 % CI) | of segment rates "
        "| vs. model: segment rates | segment as a feature | together | variance explained |\n"
    )
    return head + _rows(rows, 8)


def simulated(folder: Path, rows: int, day: date, **options: Any) -> Path:
    """A file of new users, whose last date is `day`."""
    from training.simulate import SimulateOptions
    from training.simulate.write import write_users

    out = folder / f"{day}-{rows}-{options}.parquet"
    write_users(SimulateOptions(rows, SEED, day, truth=True, **options), out)
    return out


def evaluated(bundle: Path, files: list[Path]) -> dict:
    """The `comparison` part of `training evaluate`."""
    from training.evaluate.evaluation import evaluate_bundle

    return evaluate_bundle(bundle, [str(file) for file in files]).comparison


def tables(bundle: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Every table with its mark in the document."""
    from engine.bundle.evaluation import read_evaluation
    from engine.bundle.open import open_bundle
    from engine.pages.format import percent

    opened = open_bundle(bundle)
    manifest, found = opened.manifest, dict(read_evaluation(opened).comparison)
    yield (
        "strategies",
        f"{found['rows']:,} test users, base rate {percent(found['base_rate'])}.\n\n"
        + strategies_table(found),
    )
    yield "inside", inside_table(found, {s.id: s.name for s in manifest.segments})
    yield "answers", answers_table(found)
    yield "drift", drift_table(bundle, folder)
    yield "weeks", weeks_table(bundle, folder)
    if "REAL_DATA" in os.environ:
        yield "shoppers", shoppers_table(Path(os.environ["REAL_DATA"]), folder)


def _rows(rows: list[list[str]], width: int) -> str:
    rule = "|---|" + "---:|" * (width - 1) + "\n"
    return rule + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _difference(strategy: dict, figure: str, decimals: int) -> str:
    """How far a strategy is from the model alone, and half the 95 % interval of that."""
    from training.compare.evidence import Difference

    if strategy["difference"] is None:
        return ""
    return Difference.from_model(strategy, figure).words(decimals)


def _interval(ends: list[float] | None, decimals: int) -> str:
    from engine.pages.format import interval

    return interval(ends, decimals)


def main() -> None:
    """Print the tables, and write them into a document if asked."""
    # OpenMP reads this when it is loaded, so nothing from `training` is imported earlier.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison")
    parser.add_argument("bundle", nargs="?", type=Path, default=BUNDLE)
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for mark, text in tables(arguments.bundle, Path(folder)):
            print(f"{mark}\n\n{text}", flush=True)
            if arguments.into:
                write_between(arguments.into, mark, text)


if __name__ == "__main__":
    main()
