"""The same scores by the obvious route: Polars, LightGBM's predict and pred_contrib, scikit-learn.

Usage: python benchmarks/obvious.py USERS.parquet OUT.parquet [drivers]
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
from sklearn.cluster import KMeans
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

ROOT = Path(__file__).parent.parent / "onnx_models" / "shopnow"
BANDS = ["low", "medium", "high", "very_high"]


def clustering(report: dict) -> Pipeline:
    """The fitted pipeline: each step is fitted to data that has the manifest's figures."""
    mean, scale = np.array(report["mean"]), np.array(report["scale"])
    logged = np.array([transform == "log1p" for transform in report["transforms"]])
    imputer = SimpleImputer(strategy="median").fit(np.array([report["imputation"]]))
    logarithm = FunctionTransformer(
        lambda x: np.where(logged, np.log1p(np.where(logged, np.maximum(x, 0), 0)), x)
    )
    scaler = StandardScaler().fit(np.stack([mean - scale, mean + scale]))
    centroids = np.array(report["centroids"])
    kmeans = KMeans(len(centroids), init=centroids, n_init=1, max_iter=1).fit(centroids)
    return make_pipeline(imputer, logarithm, scaler, kmeans)


def driver_columns(impacts: np.ndarray, names: list[str]) -> dict[str, pl.Series]:
    """The three features with the largest impacts of each user."""
    largest = np.argsort(-np.abs(impacts), axis=1, kind="stable")[:, :3]
    values = np.take_along_axis(impacts, largest, axis=1).astype(np.float32)
    texts = pl.Series(names)
    columns = {f"driver_{n + 1}": texts.gather(largest[:, n]) for n in range(3)}
    return columns | {f"driver_{n + 1}_impact": pl.Series(values[:, n]) for n in range(3)}


def playbook_columns(
    folder: Path, segment: np.ndarray, band: np.ndarray, ids: pl.Series
) -> dict[str, pl.Series]:
    """The action of each user's segment and band, and whether the user is left out to measure it."""
    rows = json.loads((folder / "playbook.json").read_text())["rows"]
    cells = {(row["segment_id"], row["band"]): row for row in rows}
    found = [cells[number, BANDS[place]] for number, place in zip(segment, band, strict=True)]
    draws = [int(sha256(f"control-v1:{user}".encode()).hexdigest()[:8], 16) for user in ids]
    limits = [row["control_share"] * 2**32 for row in found]
    return {
        "action": pl.Series([row["action"] for row in found]),
        "in_control_group": pl.Series(np.array(draws) < np.array(limits)),
    }


def main() -> None:
    """Score one file into another."""
    users_path, out_path, *wanted = sys.argv[1:]
    folder = ROOT / (ROOT / "CURRENT").read_text().split()[0]
    manifest = json.loads((folder / "manifest.json").read_text())
    features = [f for f in manifest["schema"]["features"] if f["use"]]
    names = [feature["name"] for feature in features]
    codes = manifest["categories"]

    users = pl.read_parquet(users_path)
    columns = [
        pl.col(name).replace_strict(
            codes[name], list(range(len(codes[name]))), default=None, return_dtype=pl.Float32
        )
        if name in codes
        else pl.col(name).cast(pl.Float32)
        for name in names
    ]
    features = users.select(columns).fill_null(float("nan")).to_numpy()

    booster = lgb.Booster(model_file=str(folder / "native" / "classifier.txt"))
    calibration = manifest["calibration"]
    raw = booster.predict(features, raw_score=True)
    probability = 1 / (1 + np.exp(-(calibration["slope"] * raw + calibration["intercept"])))
    report = json.loads((folder / "evaluation.json").read_text())["fit"]["clustering"]
    used = [names.index(name) for name in report["features"]]
    cluster = clustering(report).predict(features[:, used].astype(np.float64))

    ids = np.array([segment["id"] for segment in manifest["segments"]], dtype=np.int8)
    titles = [segment["name"] for segment in manifest["segments"]]
    band = np.searchsorted(manifest["band_cuts"], probability, side="right")
    decile = 1 + np.searchsorted(manifest["decile_cuts"], probability, side="right")
    drivers = {}
    if wanted:
        contributions = booster.predict(features, pred_contrib=True)
        drivers = driver_columns(calibration["slope"] * contributions[:, :-1], names)
    users.select(
        "user_id",
        "snapshot_date",
        purchase_probability=pl.Series(probability).cast(pl.Float32),
        will_purchase=pl.Series(probability >= manifest["threshold"]),
        propensity_decile=pl.Series(decile).cast(pl.Int8),
        propensity_band=pl.Series(BANDS).gather(band),
        segment_id=pl.Series(ids[cluster]),
        segment_name=pl.Series(titles).gather(cluster),
        **drivers,
        **playbook_columns(folder, ids[cluster], band, users["user_id"]),
        bundle_id=pl.lit(manifest["bundle_id"]),
    ).write_parquet(out_path)


if __name__ == "__main__":
    main()
