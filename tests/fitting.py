"""Small tables that are not ShopNow's, and small models."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import onnxruntime as ort
import polars as pl

from engine.bundle.schema import FeatureSchema, schema_from_dict
from training.model.search import Fold, Pool
from training.model.trees import Sample


def schema_of(*features: dict, **table: object) -> FeatureSchema:
    """A schema named 'tiny' with the label 'bought'."""
    document = {"name": "tiny", "label": "bought", **table, "features": list(features)}
    return schema_from_dict(document, "test")


def number(name: str, **more: object) -> dict:
    return {"name": name, "kind": "numeric", **more}


def category(name: str, **more: object) -> dict:
    return {"name": name, "kind": "categorical", **more}


SHOP = schema_of(
    number("visits", min=0, missing="never"),
    number("spend", min=0),
    number("age", group="profile"),
    category("city", values=["rome", "oslo", "bern"]),
    category("tier", ordered=True, values=["low", "mid", "high"], group="profile"),
    category("shop"),
    number("internal", use=False),
    id="customer",
)


def shop_users(rows: int, seed: int) -> pl.DataFrame:
    """Customers of `SHOP`, some values missing, who buy more the more they visit."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    visits = rng.poisson(np.array([1, 6, 20])[kind])
    spend = np.where(rng.random(rows) < 0.1, np.nan, visits * rng.lognormal(1, 0.4, rows))
    city = np.array(["rome", "oslo", "bern"])[rng.integers(0, 3, rows)]
    chance = 1 / (1 + np.exp(2.5 - 0.15 * visits - (city == "oslo")))
    return pl.DataFrame(
        {
            "customer": [f"c{i:06}" for i in range(rows)],
            "visits": visits,
            "spend": pl.Series(spend.astype(np.float32), nan_to_null=True),
            "age": (20 + 10 * kind + rng.normal(0, 3, rows)).astype(np.float32),
            "city": pl.Series(city).set(pl.Series(rng.random(rows) < 0.05), None),
            "tier": np.array(["low", "mid", "high"])[kind],
            "shop": [f"s{n}" for n in rng.integers(0, 4, rows)],
            "internal": rng.random(rows),
            "bought": (rng.random(rows) < chance).astype(np.int8),
        }
    )


def trees(
    features: np.ndarray,
    label: np.ndarray,
    rounds: int = 10,
    categories: list[int] | str = "auto",
    **parameters,
) -> lgb.Booster:
    """A plain LightGBM model."""
    settings = {
        "objective": "binary",
        "verbose": -1,
        "num_threads": 1,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "deterministic": True,
        **parameters,
    }
    data = lgb.Dataset(features, label, params=settings, categorical_feature=categories)
    return lgb.train(settings, data, rounds)


def halved(sample: Sample) -> Pool:
    """A pool with one row for each user, in which each half judges what the other teaches."""
    rows = np.arange(len(sample.label))
    even, odd = (sample.subset(half) for half in (rows[::2], rows[1::2]))
    return Pool(sample, (Fold(even, odd, rows[1::2]), Fold(odd, even, rows[::2])))


def splits(booster: lgb.Booster) -> list[tuple[int, float]]:
    """Feature and threshold of every split of a model, without repeats."""
    found, waiting = set(), [t["tree_structure"] for t in booster.dump_model()["tree_info"]]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            found.add((node["split_feature"], node["threshold"]))
            waiting += [node["left_child"], node["right_child"]]
    return sorted(found)


def session(model: object) -> ort.InferenceSession:
    """A graph in ONNX Runtime on one thread, as in the engine; a ModelProto, bytes or a path."""
    content = (
        model.read_bytes()
        if isinstance(model, Path)
        else model
        if isinstance(model, bytes)
        else model.SerializeToString()
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
