"""Bundles with something wrong in them, and hashes that are right all the same."""

import hashlib
import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import onnx

from engine.bundle.evaluation import evaluation_to_json, read_evaluation
from engine.bundle.open import EVALUATION, MANIFEST, MANIFEST_HASH, Bundle


def with_a_wrong_value(document: dict, seed: int) -> dict:
    """A copy of a document with one value, at any depth, in the place of which stands another."""
    rng = random.Random(seed)
    place = changed = deepcopy(document)
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        parent, place = place, place[key]
        if rng.random() < 0.3:
            break
    parent[key] = rng.choice([None, -1, 1e300, 10**400, "x", [], {}, [None], True])
    return changed


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """Change a manifest and make its hashes right again: only the content is wrong."""
    document = json.loads((folder / MANIFEST).read_text())
    text = json.dumps({**document, **changes}).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Put other bytes into a file of a bundle, and list it with their hash."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    rewrite_manifest(folder, files={**files, name: entry})


def changed_record(bundle: Bundle, **changes: object) -> dict[str, bytes]:
    """The files of a bundle whose evaluation says something else of its fit."""
    evaluation = read_evaluation(bundle)
    changed = replace(evaluation, fit=replace(evaluation.fit, **changes))
    return {**bundle.contents, EVALUATION: evaluation_to_json(changed)}


def change_graph(folder: Path, name: str, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change a graph of a bundle, and list it with its new hash."""
    model = onnx.load_from_string((folder / name).read_bytes())
    change(model)
    replace_file(folder, name, model.SerializeToString())
