"""Labelled users with the predictions of the engine, scored once for every measurement."""

from dataclasses import dataclass

import numpy as np

from engine.bundle.open import Bundle
from engine.model.session import Predictions, Session, concat_predictions
from engine.model.threads import available_cores, in_order
from engine.rows.typed import to_features
from training.data.dataset import Dataset

CHUNK_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class ScoredUsers:
    """Labelled users, as the models see them and as the engine scores them.

    Attributes:
        dataset: The users.
        features: float32 [rows, features], NaN where missing.
        predictions: Engine predictions for the same rows.
    """

    dataset: Dataset
    features: np.ndarray
    predictions: Predictions


def score_users(bundle: Bundle, dataset: Dataset) -> ScoredUsers:
    """Score labelled users through the engine."""
    manifest = bundle.manifest
    features = to_features(dataset.typed, manifest.schema.model_features, manifest.categories)
    return ScoredUsers(dataset, features, run_engine(Session(bundle), features))


def run_engine(session: Session, features: np.ndarray) -> Predictions:
    """Score with the engine's own path, chunk by chunk on all cores.

    Args:
        session: The models of a bundle.
        features: float32 [rows, features], NaN where missing.
    """
    chunks = (features[i : i + CHUNK_ROWS] for i in range(0, len(features), CHUNK_ROWS))
    found = list(in_order(session.run, chunks, available_cores()))
    return concat_predictions(found)
