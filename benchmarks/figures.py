"""Write the figures of the committed bundle into the documents.

Usage: python -m benchmarks.figures
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.contenders import BUNDLE, ROOT
from benchmarks.report import README, write_between
from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from engine.pages.format import decimal, interval, percent
from training.pipeline import Fitted
from training.report.sections.figures import AGAINST_TRUTH, HEADLINE
from training.segments.counts import WORTH

MODELLING = ROOT / "docs" / "modelling.md"


def trials_table(fitted: Fitted) -> str:
    """Baselines and trials, cross-validated on the same users, and the gain from depth."""
    record = fitted.evaluation.fit.search
    standard = [record["unrestricted"]] if record.get("unrestricted") else []
    rows = [
        (
            _name(row, len(record["validation"]["rows"])),
            f"{row['trees']:,}" if "trees" in row else "",
            decimal(row["log_loss"], 5),
            decimal(row["difference"], 5),
            decimal(row["standard_error"], 5),
            decimal(row["roc_auc"], 4),
            f"{row['cost']:,.0f}" if row.get("cost") else "",
        )
        for row in [*record["baselines"], *standard, *record["trials"]]
    ]
    head = ("cross-validated", "trees", "log-loss", "Δ log-loss", "SE of Δ", "ROC-AUC", "ns a user")
    return markdown(head, rows) + _depth_gain(record["depth_gain"])


def purchase_table(fitted: Fitted) -> str:
    """Test metrics with intervals, and the best possible values."""
    metrics = fitted.evaluation.metrics
    rows = [
        (title, decimal(metrics[name], 4), interval(metrics["intervals"][name], 4))
        for name, title in HEADLINE
        if name in metrics["intervals"]
    ]
    rows += [(title, decimal(metrics[name], 4), "") for name, title in AGAINST_TRUTH]
    return markdown((f"{metrics['rows']:,} test users", "value", "95 % CI"), rows)


def counts_table(fitted: Fitted) -> str:
    """The measurements for each number of segments."""
    head = (
        "k",
        "silhouette",
        "permuted columns",
        "bootstrap ARI, mean",
        "worst",
        "smallest segment",
        "eta²",
        f"eta² − {WORTH} k",
    )
    return markdown(
        head,
        [
            (
                f"**{row['segments']}**" if row["chosen"] else row["segments"],
                decimal(row["silhouette"], 3),
                decimal(row["silhouette_permuted"], 3),
                decimal(row["agreement"], 2),
                decimal(row["agreement_worst"], 2),
                percent(row["smallest_share"]),
                decimal(row["actionability"], 3),
                decimal(row["actionability"] - WORTH * row["segments"], 3),
            )
            for row in fitted.evaluation.fit.clustering["counts_tried"]
        ],
    )


def silhouettes_table(fitted: Fitted) -> str:
    """The test silhouette beside those of data without clusters."""
    found = fitted.evaluation.fit.clustering
    features = len(found["actionable_features"])
    return markdown(
        (f"{found['silhouette_rows']:,} test users", "silhouette"),
        [
            (title, decimal(found[name], 3))
            for title, name in (
                (
                    f"{len(fitted.manifest.segments)} segments, in their own feature space",
                    "silhouette",
                ),
                (
                    "Gaussian copula (same marginals and rank correlations, no clusters)",
                    "silhouette_copula",
                ),
                ("permuted columns (same marginals, no correlation)", "silhouette_permuted"),
                (
                    f"same segments, all {features} features with `high`/`low` words, standardised, no "
                    "log",
                    "silhouette_plain",
                ),
            )
        ],
    )


def segments_table(fitted: Fitted) -> str:
    """Who the segments are."""
    bought = {s["segment_id"]: s["purchase_rate"] for s in fitted.evaluation.comparison["segments"]}
    return markdown(
        ("segment", "users", "purchase rate", "spend, USD", "description"),
        [
            (
                segment.name,
                percent(segment.share),
                percent(bought[segment.id]),
                decimal(fitted.evaluation.fit.profiles[segment.id]["spend"], 0),
                segment.sentence.partition(": ")[2],
            )
            for segment in fitted.manifest.segments
        ],
        words=(0, 4),
    )


def summary(fitted: Fitted) -> str:
    """The headline figures of the committed bundle."""
    metrics, found = fitted.evaluation.metrics, fitted.evaluation.fit.clustering
    return (
        f"The committed bundle on the {metrics['rows']:,} test users held out before its fit: "
        f"ROC-AUC {decimal(metrics['roc_auc'])}, {percent(metrics['share_of_best_auc'], 1)} of the best "
        f"possible, which is known because the users are simulated; F1 {decimal(metrics['f1'])}; "
        f"{len(fitted.manifest.segments)} segments, silhouette {decimal(found['silhouette'])}.\n"
    )


TABLES: Mapping[str, Callable[[Fitted], str]] = {
    "trials": trials_table,
    "purchase": purchase_table,
    "counts": counts_table,
    "silhouettes": silhouettes_table,
    "segments": segments_table,
}
"""By their mark in docs/modelling.md."""


def markdown(
    head: Sequence[str], rows: Iterable[Sequence[Any]], words: Sequence[int] = (0,)
) -> str:
    """A table; the columns in `words` are left-aligned, all others right-aligned."""
    rules = ["---" if column in words else "---:" for column in range(len(head))]
    lines = [head, rules, *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _name(row: Mapping[str, Any], folds: int) -> str:
    if row.get("chosen"):
        return f"**{row['name']}**"
    # The search stops what is clearly worse.
    return f"{row['name']} (stopped)" if row.get("folds", folds) < folds else row["name"]


def _depth_gain(gain: Mapping[str, Any] | None) -> str:
    if gain is None:
        return ""
    return (
        f"\nInteractions beat stumps by {gain['roc_auc']:.4f} ROC-AUC (standard error "
        f"{gain['roc_auc_standard_error']:.4f}) and {gain['log_loss']:.4f} log-loss "
        f"({gain['log_loss_standard_error']:.4f}).\n"
    )


def main() -> None:
    """Write every table, and the sentence of the README, into its document."""
    bundle = open_bundle(BUNDLE)
    fitted = Fitted(bundle.manifest, read_evaluation(bundle))
    for mark, table in TABLES.items():
        write_between(MODELLING, mark, table(fitted))
    write_between(README, "bundle", summary(fitted))


if __name__ == "__main__":
    main()
