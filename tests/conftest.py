"""Fixtures: simulated users, and the committed bundle."""

import os
import signal
from dataclasses import replace
from subprocess import CompletedProcess

import polars as pl
import pytest
from hypothesis import settings

import engine.cli.main
import training.cli
from engine import load_bundle
from tests.fitted import SMALL
from tests.helpers import BUNDLE, write_table
from training.simulate import SimulateOptions, simulate

# One thread a worker: LightGBM and KMeans would start one a core in each, and theirs spin while they
# wait. Read when their libraries are loaded, which is later than here.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "ci", deadline=None, derandomize=bool(os.environ.get("CI")), max_examples=50
)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def users() -> pl.DataFrame:
    return pl.concat(simulate(SimulateOptions(rows=5_000, seed=11, label=False)))


@pytest.fixture(scope="module")
def browser():
    # Few tests need a browser, and not every machine has what drives it.
    from tests.integration.browser import running_browser

    with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
def scorer():
    return load_bundle(BUNDLE)


@pytest.fixture
def users_file(users, tmp_path):
    return write_table(users, tmp_path / "users.parquet")


@pytest.fixture
def hangup():
    """SIGHUP as a terminal sends it; under nohup it is ignored, here and in every child process."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Runs a command line within this process, in the folder of the test: a process of its own would
    first spend seconds on loading its packages. `training fit` does the work of a small effort."""
    # `training fit` sets it: what is set here is taken back at the end.
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(
        "training.effort.effort_of",
        lambda trials, minutes: replace(SMALL, trials=trials or SMALL.trials, minutes=minutes),
    )
    programs = {"engine": engine.cli.main.main, "training": training.cli.main}

    def run(program, *arguments, cwd=tmp_path):
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            programs[program](list(map(str, arguments)))
        return CompletedProcess(arguments, ended.value.code, *capfd.readouterr())

    return run
