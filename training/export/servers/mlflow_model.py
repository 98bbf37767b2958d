"""A bundle as an MLflow model with two flavors, which share one copy of the bundle."""

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.bundle.open import SCORER, Bundle, copy_bundle

BUNDLE = "bundle"
"""The name of the copy in the folder `data` of the model."""

LOADER = "engine.connectors.mlflow"


def write_mlflow_model(folder: Path, bundle: Bundle) -> None:
    """Write a bundle as an MLflow model.

    The flavor ``python_function`` scores with the engine, so that its answers are the columns of the
    score file. The flavor ``onnx`` is `scorer.onnx`, for `mlflow.onnx.load_model`. The model names the
    module that loads it, so that nothing is pickled.

    Args:
        folder: The model, absent.
        bundle: An opened bundle.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    model = Model(metadata={"bundle_id": bundle.manifest.bundle_id})
    model.add_flavor(
        "onnx",
        onnx_version=version("onnx"),
        data=f"data/{BUNDLE}/{SCORER}",
        providers=["CPUExecutionProvider"],
    )
    with TemporaryDirectory() as parent:
        copy = Path(parent) / BUNDLE
        copy_bundle(copy, bundle)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=LOADER,
            data_path=str(copy),
            mlflow_model=model,
            # Given, because MLflow would otherwise load the model to see what it imports.
            pip_requirements=[
                f"mlflow-skinny=={version('mlflow-skinny')}",
                f"shopnow-scoring[mlflow]=={version('shopnow-scoring')}",
            ],
        )
