"""Four frozen LightGBM models of simulated users, from stumps to depth 3.

They stand for the cost of a model, whatever `training` fits today. Remade by:
python -m benchmarks.frozen
"""

import json
import re
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from engine.bundle.schema import default_schema_path, load_schema
from engine.rows.typed import to_features, to_typed
from training.model.categories import fit_categories
from training.model.trees import model_names
from training.simulate import SimulateOptions, simulate

FOLDER = Path(__file__).parent / "models"
CATEGORIES = FOLDER / "categories.json"
PARAMETERS = {
    "objective": "binary",
    "min_data_in_leaf": 200,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "seed": 7,
    "verbose": -1,
}
# Of each model: trees, depth, learning rate.
MODELS = {
    "stumps": (322, 1, 0.3),
    "depth2_small": (112, 2, 0.3),
    "depth2_large": (238, 2, 0.2),
    "depth3": (274, 3, 0.1),
}


def load_frozen(name: str) -> lgb.Booster:
    """One of `MODELS`."""
    return lgb.Booster(model_file=str(FOLDER / f"{name}.txt"))


def frozen_features(users: pl.DataFrame) -> np.ndarray:
    """The `features` tensor of the frozen models, float32 [rows, 38]."""
    schema = load_schema(default_schema_path())
    categories = {name: tuple(v) for name, v in json.loads(CATEGORIES.read_text()).items()}
    return to_features(to_typed(users, schema).frame, schema.model_features, categories)


def main() -> None:
    """Fit the four models anew, to 240,000 users."""
    FOLDER.mkdir(exist_ok=True)
    users = pl.concat(simulate(SimulateOptions()))
    label = users["purchased_next_7d"].to_numpy()
    schema = load_schema(default_schema_path())
    categories = fit_categories(to_typed(users, schema).frame, label, schema)
    CATEGORIES.write_text(json.dumps(categories, indent=1) + "\n")
    features = frozen_features(users)
    names = model_names(tuple(feature.name for feature in schema.model_features))
    for name, (trees, depth, rate) in MODELS.items():
        shape = {"max_depth": depth, "num_leaves": 2**depth, "learning_rate": rate}
        data = lgb.Dataset(features, label, feature_name=names, params=PARAMETERS)
        booster = lgb.train(PARAMETERS | shape, data, trees)
        (FOLDER / f"{name}.txt").write_text(_short_text(booster))
        print(f"{name}: {booster.num_trees()} trees")


def _short_text(booster: lgb.Booster) -> str:
    """The model without the weights of its nodes, which neither scores nor impacts need."""
    text = re.sub(r"(leaf_weight|internal_weight|tree_sizes)=.*\n", "", booster.model_to_string())
    # Written once more, by LightGBM itself, so that the sizes of the trees are right.
    return lgb.Booster(model_str=text).model_to_string()


if __name__ == "__main__":
    main()
