"""Fixtures: databases with users in them."""

import pytest

from tests.integration.databases.server import postgres_or_skip
from tests.integration.databases.shops import KINDS, filled


@pytest.fixture(scope="session")
def postgres_uri():
    with postgres_or_skip() as uri:
        yield uri


@pytest.fixture(params=KINDS)
def shop(request, users, tmp_path):
    """A database with a table of users; the working directory is empty."""
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgres_uri")
    else:
        uri = f"{request.param}:///{tmp_path}/shop.db"
    return filled(uri, users, tmp_path)


@pytest.fixture
def postgres(postgres_uri, users, tmp_path):
    return filled(postgres_uri, users, tmp_path)
