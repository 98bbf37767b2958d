"""The engine as an MLflow pyfunc: the module that a model of `training export --to mlflow` names."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from polars import selectors as cs

from engine.errors import EngineError, InputError
from engine.scorer import Scorer, load_bundle

if TYPE_CHECKING:
    import pandas as pd


class PyfuncModel:
    """A bundle behind MLflow's interface; threads may share it."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def predict(self, model_input: "pd.DataFrame") -> "pd.DataFrame":
        """Score users: the columns of the score file, one row for each user, in the same order.

        Args:
            model_input: Users with at least the columns that the bundle needs.

        Raises:
            MlflowException: Columns or rows break the contract; the server answers with status 400.
        """
        from mlflow.exceptions import MlflowException

        try:
            scores = self._scorer.score(_to_polars(model_input))
        except EngineError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        # NOTE: as floats, missing whole numbers would be NaN, which JSON does not have.
        return scores.to_pandas(date_as_object=True, integer_object_nulls=True)


def _load_pyfunc(data_path: str) -> PyfuncModel:
    """What MLflow calls; `data_path` is the bundle."""
    return PyfuncModel(load_bundle(Path(data_path)))


def _to_polars(frame: "pd.DataFrame") -> pl.DataFrame:
    """The same columns; pandas has no dates, so times that all are midnight are dates."""
    try:
        users = pl.from_pandas(frame)
    except pa.ArrowException as error:
        raise InputError(
            f"frame: a column holds values of several types: {error}. Give each column one type."
        ) from error
    times = users.select(cs.datetime(time_zone=None))
    dates = [column.name for column in times if (column.dt.truncate("1d") == column).all()]
    return users.with_columns(pl.col(dates).cast(pl.Date))
