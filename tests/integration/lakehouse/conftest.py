"""Tables of both formats, and users to fill them with."""

import pytest

from tests.integration.lakehouse.tables import FORMATS, ROWS, lakehouse, scored


@pytest.fixture(params=FORMATS)
def lake(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lakehouse(request.param, tmp_path / "lake", monkeypatch)


@pytest.fixture
def delta(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lakehouse("delta", tmp_path / "lake", monkeypatch)


@pytest.fixture(scope="module")
def some(users):
    return users.head(ROWS)


@pytest.fixture(scope="module")
def expected(some, tmp_path_factory):
    return scored(some, tmp_path_factory.mktemp("plain"))
