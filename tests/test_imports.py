"""Between packages, imports go one way."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT

EVERYWHERE = {"", "errors", "logs", "versions"}
"""What every package of `engine` may import; the table leaves it out."""


@pytest.mark.parametrize("package", ["engine", "training"])
def test_imports_between_packages_go_one_way(package):
    packages = TopologicalSorter()
    for importer, imported in package_imports(ROOT / package):
        packages.add(importer, imported)
    # A CycleError names the packages of a circle.
    assert f"{package}.cli" in packages.static_order()


def test_inputs_and_outputs_know_no_connector():
    imports = set(package_imports(ROOT / "engine"))
    for importer in ("engine.inputs", "engine.outputs", "engine.pipeline"):
        assert (importer, "engine.connectors") not in imports


@pytest.mark.parametrize("package", ["engine", "training"])
def test_the_tables_of_imports_are_true(package):
    found = defaultdict(set)
    for importer, imported in package_imports(ROOT / package):
        found[importer.partition(".")[2]].add(imported.partition(".")[2])
    listed = tables_of_imports()[package]
    # The command line may import everything.
    for name in listed.keys() - {"cli"}:
        assert (name, listed[name]) == (name, found[name] - EVERYWHERE)
    assert set(found) - EVERYWHERE - {"__init__"} <= set(listed)


def tables_of_imports() -> dict[str, dict[str, set[str]]]:
    """What docs/internals/how_it_works.md says that each package imports."""
    text = (ROOT / "docs" / "internals" / "how_it_works.md").read_text()
    tables = {}
    for head, rows in re.findall(
        r"\n\| (engine|training) \| imports.*\n\|---\|---\|\n((?:\|.*\n)+)", text
    ):
        cells = [row.split("|")[1:3] for row in rows.splitlines()]
        tables[head] = {
            name: set(re.findall(r"`(\w+)`", imported))
            for names, imported in cells
            for name in re.findall(r"`(\w+)`", names)
        }
        for row in tables[head].values():
            row.discard("training")
    return tables


def package_imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Every import from one package, a module or a folder of modules, into another."""
    for path in sorted(folder.rglob("*.py")):
        importer = package_of(".".join(path.relative_to(folder.parent).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported_modules(node):
                if name.startswith(f"{folder.name}.") and package_of(name) != importer:
                    yield importer, package_of(name)


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
