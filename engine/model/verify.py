"""`engine verify`: every check of a bundle that needs no users, on this machine."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from polars.exceptions import PolarsError

from engine.bundle.documents import parse_json
from engine.bundle.evaluation import read_evaluation
from engine.bundle.graphs import check_operators, signatures
from engine.bundle.open import CONFORMANCE, REFERENCE, SCORER, Bundle, open_bundle
from engine.bundle.playbook import open_playbook
from engine.bundle.reference import reference_from_json
from engine.errors import BundleError, pluralize
from engine.model.conformance import (
    CORE_ROWS,
    TOLERANCES,
    Vectors,
    differences,
    read_vectors,
    refuse_differences,
    run_engine,
)
from engine.model.session import Session, load_graph, run_graph
from engine.rows.typed import named_inputs
from engine.versions import running_versions


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking a bundle.

    Attributes:
        bundle_id: The bundle.
        files: The number of files, all of which match the manifest's SHA-256.
        size_bytes: Their total size.
        operators: The number of nodes of each operator in the graphs; all are allowed.
        rows: Conformance rows scored by the engine and by `scorer.onnx`.
        core_rows: How many of them are checked at every start.
        tolerances: The largest allowed difference of each output.
        worst: The largest difference found, for the engine's own path and for `scorer.onnx`.
        versions: The package versions used.
        signed_by: The fingerprint of the key whose signature was checked; None if none was.
    """

    bundle_id: str
    files: int
    size_bytes: int
    operators: Mapping[str, int]
    rows: int
    core_rows: int
    tolerances: Mapping[str, float]
    worst: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, str]
    signed_by: str | None = None

    def to_json(self) -> str:
        """One JSON object; a difference that is NaN is null."""
        worst = {
            path: {name: value if np.isfinite(value) else None for name, value in found.items()}
            for path, found in self.worst.items()
        }
        return json.dumps({**asdict(self), "worst": worst}, ensure_ascii=False)

    def to_lines(self) -> Iterator[str]:
        """The result as lines for people."""
        nodes = sum(self.operators.values())
        yield f"bundle {self.bundle_id}"
        yield f"{pluralize(self.files, 'file')}, {self.size_bytes:,} bytes: every SHA-256 matches"
        if self.signed_by is not None:
            yield f"signed, every file as it is, by the key with SHA-256 {self.signed_by}"
        yield f"{pluralize(nodes, 'node')} of {pluralize(len(self.operators), 'operator')}: all allowed"
        yield (
            f"{pluralize(self.rows, 'conformance row')} (the first {self.core_rows} are checked at "
            "every start); worst difference of each output:"
        )
        for name, allowed in self.tolerances.items():
            found = ", ".join(
                f"{path} {w[name]:.2g}" for path, w in self.worst.items() if name in w
            )
            yield f"  {name}: {found} (allowed {allowed:g})"
        yield ", ".join(f"{name} {version}" for name, version in self.versions.items())

    def refuse_failures(self) -> None:
        """Check that this machine's results do not differ.

        Raises:
            SelfCheckError: An output differs by more than its tolerance.
        """
        for path, worst in self.worst.items():
            refuse_differences(worst, self.rows, f"{self.bundle_id}: {path}")


def verify(path: Path, public_key: Path | None = None) -> Verification:
    """Check hashes, documents, all graphs and all conformance rows of a bundle, on this machine.

    Args:
        path: A bundle folder, or a folder with `CURRENT`.
        public_key: The key that must have signed the bundle; without it no signature is looked at.

    Raises:
        BundleError: The bundle is missing, altered or invalid, or its signature is.
        VersionError: The bundle needs another engine version.
        AccessError: A file may not be read.
        SelfCheckError: A score is not finite.
    """
    bundle = open_bundle(path, public_key)
    read_evaluation(bundle)
    open_playbook(bundle)
    reference_from_json(bundle.contents[REFERENCE], bundle.manifest)
    graphs = {name: load_graph(bundle, name) for name in _graphs(bundle)}
    vectors = read_vectors(bundle)
    check_document(bundle, vectors)
    found = {
        "engine": run_engine(bundle.manifest, Session(bundle), vectors),
        SCORER: _run_scorer(graphs[SCORER], bundle, vectors),
    }
    return Verification(
        bundle_id=bundle.manifest.bundle_id,
        files=len(bundle.manifest.files),
        size_bytes=sum(entry.size_bytes for entry in bundle.manifest.files.values()),
        operators=_operators(bundle),
        rows=vectors.rows,
        core_rows=min(CORE_ROWS, vectors.rows),
        tolerances=TOLERANCES,
        worst={path: differences(vectors, outputs) for path, outputs in found.items()},
        versions=running_versions(),
        signed_by=bundle.signed_by,
    )


def _run_scorer(
    graph: ort.InferenceSession, bundle: Bundle, vectors: Vectors
) -> dict[str, np.ndarray]:
    """The outputs of `scorer.onnx` for named inputs, without the engine's own preprocessing."""
    inputs = named_inputs(vectors.inputs, bundle.manifest.schema.model_features)
    names = list(vectors.outputs)
    return dict(zip(names, run_graph(graph, names, inputs, SCORER), strict=True))


def _graphs(bundle: Bundle) -> list[str]:
    """The graphs that a bundle has."""
    return [name for name in signatures(bundle.manifest) if name in bundle.contents]


def _operators(bundle: Bundle) -> dict[str, int]:
    """The number of nodes of each operator in all graphs together."""
    counts = Counter(
        f"{domain or 'ai.onnx'}.{kind}"
        for name in _graphs(bundle)
        for domain, kind in check_operators(bundle.contents[name], name).operators
    )
    return dict(sorted(counts.items()))


def check_document(bundle: Bundle, vectors: Vectors) -> None:
    """Check that the JSON for other languages agrees with the ONNX test data."""
    where = bundle.path / CONFORMANCE
    try:
        document: dict[str, Any] = parse_json(bundle.contents[CONFORMANCE])
        same = [
            document["bundle_id"] == bundle.manifest.bundle_id,
            document["rows"] == vectors.rows,
            *(
                column.equals(pl.Series(document["inputs"][column.name], dtype=column.dtype))
                for column in vectors.inputs
            ),
            *(
                np.array_equal(values, np.array(document["outputs"][name], values.dtype))
                for name, values in vectors.outputs.items()
            ),
        ]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, PolarsError) as error:
        raise BundleError(
            f"{where}: not conformance rows: {error}. Copy the bundle again."
        ) from error
    if not all(same):
        raise BundleError(
            f"{where}: differs from the ONNX test data beside it. Copy the bundle again."
        )
