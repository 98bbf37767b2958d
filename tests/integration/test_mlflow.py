"""A bundle as an MLflow model: loaded, served and asked."""

import io
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from engine import load_bundle
from engine.bundle.names import check_no_pickle
from engine.bundle.open import SCORER, open_bundle
from engine.connectors.mlflow import PyfuncModel
from tests.helpers import BUNDLE, run
from tests.integration.model_server import ask, free_ports, running

pytest.importorskip("mlflow", reason="needs MLflow: make .venv/mlflow.stamp")
# Of MLflow and the packages that it brings.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow") / "model"
    said = run("training", "export", BUNDLE, "--to", "mlflow", "--out", folder)
    assert said.returncode == 0, said.stderr
    assert f"mlflow models serve --model-uri {folder} --env-manager local" in said.stderr
    return folder


@pytest.fixture(scope="module")
def address(model):
    (port,) = free_ports(1)
    # MLflow starts uvicorn by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    serve = ("-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local")
    with running(
        [sys.executable, *serve, "--port", port],
        model.with_name("log"),
        f"http://127.0.0.1:{port}/ping",
        {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path},
    ):
        yield f"http://127.0.0.1:{port}/invocations"


def test_the_loaded_model_gives_the_scores_of_the_engine(model, users, scorer):
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(str(model))
    assert loaded.metadata.metadata == {"bundle_id": scorer.manifest.bundle_id}
    found = loaded.predict(users.to_pandas())
    expected = scorer.score(users)
    assert list(found.columns) == expected.columns
    assert pl.from_pandas(found, schema_overrides=expected.schema).equals(expected)


def test_the_server_answers_with_the_numbers_of_the_engine(address, users, scorer):
    asked = users[:300]
    rows = {"columns": asked.columns, "data": asked.rows()}
    status, answer = ask(address, {"dataframe_split": rows})
    assert status == 200
    expected = scorer.score(asked)
    found = pl.DataFrame(answer["predictions"]).select(
        pl.col(name).str.to_date() if kind == pl.Date else pl.col(name).cast(kind)
        for name, kind in expected.schema.items()
    )
    assert found.equals(expected)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("bounce_rate", [0.5, 7.0], r"1 row of 2 cannot be scored.*bounce_rate\|above_max"),
        ("bounce_rate", [0.5, "a"], "a column holds values of several types"),
        ("bounce_rate", ["a", "b"], r"2 rows of 2 cannot be scored.*bounce_rate\|not_a_number 2"),
    ],
)
def test_what_the_engine_refuses_is_answered_in_words(address, users, column, values, message):

    records = [
        {**row, column: value}
        for row, value in zip(users[:2].rows(named=True), values, strict=True)
    ]
    status, answer = ask(address, {"dataframe_records": records})
    assert status == 400
    assert re.search(message, answer["message"])
    assert "Traceback" not in str(answer)


def test_a_missing_column_is_answered_in_words(address, users):
    rows = users[:2].drop("country").rows(named=True)
    status, answer = ask(address, {"dataframe_records": rows})
    assert status == 400
    assert "1 missing column: 'country'" in answer["message"]


def test_the_flavor_onnx_is_the_graph_that_others_embed(model):
    import mlflow.onnx

    graph = mlflow.onnx.load_model(str(model))
    assert graph.SerializeToString(deterministic=True) == open_bundle(BUNDLE).contents[SCORER]


def test_the_model_holds_the_bundle_and_no_pickle(model):
    assert open_bundle(model / "data" / "bundle").manifest == open_bundle(BUNDLE).manifest
    check_no_pickle(model, [os.path.relpath(path, model) for path in model.rglob("*")])
    assert "shopnow-scoring[mlflow]==" in (model / "requirements.txt").read_text()


def test_missing_segments_are_null_in_json(users):
    from mlflow.pyfunc.scoring_server import predictions_to_json

    scorer = load_bundle(BUNDLE)
    scorer.manifest = replace(scorer.manifest, segments_verdict="chance")
    answer = io.StringIO()
    predictions_to_json(PyfuncModel(scorer).predict(users[:3].to_pandas()), answer)
    assert answer.getvalue().count('"segment_id": null') == 3
    assert "NaN" not in answer.getvalue()
