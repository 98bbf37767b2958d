import lightgbm as lgb
import numpy as np
import pytest

from training.model.trees import Sample, Settings, TrainConfig, Trainer, mean_text, raw_scores

NAMES = ("a", "b", "c")
SETTINGS = Settings("any", leaf_share=0.0, lambda_l2=0.1)


@pytest.fixture(scope="module")
def users():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_000, 3)).astype(np.float32)
    x[::7, 1] = np.nan
    chance = 1 / (1 + np.exp(-2 * x[:, 0] - np.sign(x[:, 2])))
    return Sample(x, (rng.random(1_000) < chance).astype(np.int8))


def test_the_mean_of_models_scores_as_the_mean_of_their_scores(users):
    models = [Trainer(users, NAMES, seed).train(TrainConfig(SETTINGS, None, 5)) for seed in (1, 2)]
    uneven = Trainer(users, NAMES, 3).train(TrainConfig(SETTINGS, ((0, 1),), 9))
    models.append(uneven)
    mean = lgb.Booster(model_str=mean_text([model.model_to_string() for model in models]))
    assert mean.num_trees() == 19
    expected = np.mean([raw_scores(model, users.features) for model in models], axis=0)
    np.testing.assert_allclose(raw_scores(mean, users.features), expected, rtol=0, atol=1e-12)
    # The share of rows and the values of inner nodes, which SHAP values are made of.
    contributions = np.mean([m.predict(users.features, pred_contrib=True) for m in models], axis=0)
    found = mean.predict(users.features, pred_contrib=True)
    np.testing.assert_allclose(found, contributions, rtol=0, atol=1e-12)


def test_fits_of_one_model_see_different_users(users):
    trainer = Trainer(users, NAMES, 1)
    one, three = (trainer.train(TrainConfig(SETTINGS, None, 8, fits)) for fits in (1, 3))
    assert (one.num_trees(), three.num_trees()) == (8, 24)
    first, second = (raw_scores(three, users.features, rounds) for rounds in (8, 16))
    assert np.abs(second - 2 * first).max() > 0.01
    again = Trainer(users, NAMES, 1).train(TrainConfig(SETTINGS, None, 8, 3))
    assert again.model_to_string() == three.model_to_string()


@pytest.mark.parametrize(("width", "share"), [(4, 1.0), (10, 0.6), (12, 0.5), (100, 0.5)])
def test_a_tree_may_use_six_features_at_least(width, share):
    settings = Settings("any", feature_fraction=0.5)
    assert settings.parameters(1_000, width)["feature_fraction"] == share
