"""What a score file holds, for those who write it and those who read it."""

from engine.bundle.manifest import DRIVERS, MAX_SEGMENT_ID
from engine.bundle.schema import Feature

DRIVER_NAMES = tuple(f"driver_{n}" for n in range(1, DRIVERS + 1))
REASON_NAMES = tuple(f"reason_{n}" for n in range(1, DRIVERS + 1))

_FEATURES = {
    feature.name: feature
    for feature in (
        Feature("purchase_probability", "numeric", min=0, max=1, missing="never"),
        Feature("will_purchase", "numeric", min=0, max=1, missing="never"),
        Feature("propensity_decile", "numeric", min=1, max=10, missing="never"),
        Feature("propensity_band", "categorical", missing="never"),
        Feature("segment_id", "numeric", min=0, max=MAX_SEGMENT_ID),
        Feature("segment_name", "categorical"),
        Feature("action", "categorical"),
        Feature("in_control_group", "numeric", min=0, max=1, missing="never"),
        Feature("bundle_id", "categorical", missing="never"),
    )
}


def score_features(*names: str) -> tuple[Feature, ...]:
    """Columns of a score file as features, by which rows are checked; all that are read by default."""
    return tuple(_FEATURES[name] for name in names or _FEATURES)
