"""The fingerprint of the code, by which the version of a bundle changes with it."""

import shutil
from pathlib import Path

import pytest

from training.export.bundle import CODE, code_fingerprint


@pytest.mark.parametrize("name", ["engine/rows/typed.py", "engine/schemas/shopnow.toml"])
def test_the_fingerprint_of_the_code_changes_with_any_file(tmp_path, name):
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in CODE]
    assert code_fingerprint(copies) == code_fingerprint()
    with (tmp_path / name).open("a") as file:
        file.write("\n")
    assert code_fingerprint(copies) != code_fingerprint()


def test_the_fingerprint_of_the_code_changes_with_the_name_of_a_file(tmp_path):
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in CODE]
    data = tmp_path / "training" / "data"
    (data / "split.py").rename(data / "splits.py")
    assert code_fingerprint(copies) != code_fingerprint()
