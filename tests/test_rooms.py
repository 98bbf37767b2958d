"""The house stays easy to draw: between its rooms, imports go one way."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import engine


@pytest.mark.parametrize("package", ["engine", "training"])
def test_imports_between_rooms_go_one_way(package):
    rooms = TopologicalSorter()
    for room, imported in room_imports(Path(engine.__file__).parents[1] / package):
        rooms.add(room, imported)
    # A CycleError names the rooms of a circle.
    assert f"{package}.cli" in rooms.static_order()


def test_inputs_and_outputs_know_no_connector():
    imports = set(room_imports(Path(engine.__file__).parent))
    for room in ("engine.inputs", "engine.outputs", "engine.pipeline"):
        assert (room, "engine.connectors") not in imports


def room_imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Every import from one room, a module or a folder of modules, into another."""
    for path in sorted(folder.rglob("*.py")):
        importer = room_of(".".join(path.relative_to(folder.parent).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported_modules(node):
                if name.startswith(f"{folder.name}.") and room_of(name) != importer:
                    yield importer, room_of(name)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
