import pytest

from tests.helpers import write_table


@pytest.fixture(scope="module")
def scores(users, scorer):
    return scorer.score(users)


@pytest.fixture
def source(scores, tmp_path):
    return write_table(scores, tmp_path / "scores.parquet")
