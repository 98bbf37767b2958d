"""Between packages, imports go one way."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import engine


@pytest.mark.parametrize("package", ["engine", "training"])
def test_imports_between_packages_go_one_way(package):
    packages = TopologicalSorter()
    for importer, imported in package_imports(Path(engine.__file__).parents[1] / package):
        packages.add(importer, imported)
    # A CycleError names the packages of a circle.
    assert f"{package}.cli" in packages.static_order()


def test_inputs_and_outputs_know_no_connector():
    imports = set(package_imports(Path(engine.__file__).parent))
    for importer in ("engine.inputs", "engine.outputs", "engine.pipeline"):
        assert (importer, "engine.connectors") not in imports


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
