"""Wheel and sdist: what is in them, and that the wheel works where nothing else is."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.helpers import BUNDLE, ROOT

VERSION = "0.1.0"


def run(*command, cwd, code=0):
    """Run a program that knows nothing of this checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ENGINE_"))}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def build(source, target, *kinds):
    run(sys.executable, "-m", "hatchling", "build", "-d", target, *kinds, cwd=source)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel and the packages of `requirements.lock`, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in locked(ROOT / "requirements.lock"):
        found = distribution(name)
        for top in {path.parts[0] for path in found.files} - {"..", "__pycache__"}:
            (packages / top).symlink_to(found.locate_file(top))
    into = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*into, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    assert "No broken requirements" in run(*into, "check", cwd=folder)
    return folder


def locked(path):
    """The packages of a lock file that this machine installs."""
    lines = re.findall(r"^([a-z0-9][^\\\n]*)", path.read_text(), re.MULTILINE)
    requirements = [Requirement(line.strip()) for line in lines]
    return [r.name for r in requirements if r.marker is None or r.marker.evaluate()]


def test_wheel_and_sdist_pass_the_checks_of_an_index(built, wheel):
    found = run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)
    assert found.count("PASSED") == 2
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "engine", "training"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == set(listed.stdout.splitlines())
    assert f"shopnow_scoring-{VERSION}.dist-info/licenses/LICENSE" in names


def test_the_sdist_has_sources_only_and_gives_the_same_wheel(built, wheel, tmp_path):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert {path.name for path in source.iterdir()} == {
        *("engine", "training", "CHANGELOG.md", "LICENSE", "README.md"),
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
    }
    build(source, tmp_path / "again", "-t", "wheel")
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_wheel_works_outside_the_checkout(environment, tmp_path):
    shutil.copytree(BUNDLE, tmp_path / "models")
    engine, training = (environment / "bin" / name for name in ("engine", "training"))
    python = environment / "bin" / "python"
    where = run(python, "-c", "import engine; print(engine.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)

    run(
        training, "simulate", "--rows", "2000", "--no-label", "--out", "users.parquet", cwd=tmp_path
    )
    scored = run(
        *(engine, "score", "users.parquet", "--bundle", "models", "--out", "scores.parquet"),
        cwd=tmp_path,
    )
    assert "2,000 users read, 2,000 scored, 0 quarantined" in scored
    here = Path(sys.executable).parent / "engine"
    run(
        *(here, "score", "users.parquet", "--bundle", "models", "--out", "here.parquet"),
        cwd=tmp_path,
    )
    scores = [(tmp_path / name).read_bytes() for name in ("scores.parquet", "here.parquet")]
    assert scores[0] == scores[1]


def test_the_wheel_says_what_is_missing(environment, tmp_path):
    engine, training = (environment / "bin" / name for name in ("engine", "training"))
    missing = run(engine, "score", "users.parquet", "--out", "scores.csv", cwd=tmp_path, code=78)
    assert "onnx_models/shopnow: no such bundle. Give one with --bundle or ENGINE_BUNDLE" in missing
    assert "pip install 'shopnow-scoring[training]'" in run(
        training, "fit", "history.parquet", "--out", "candidate", cwd=tmp_path, code=2
    )
    (tmp_path / "key.pem").write_text("")
    assert "pip install 'shopnow-scoring[signing]'" in run(
        *(engine, "verify", BUNDLE, "--key", "key.pem"), cwd=tmp_path, code=2
    )
