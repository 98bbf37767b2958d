"""The files and the manifest of a bundle, from the fitted models."""

import hashlib
import json
import platform
import re
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import lightgbm as lgb

import engine
import training
from engine.bundle.manifest import Manifest, Segment
from engine.bundle.open import CLASSIFIER, CORE, NATIVE_CLASSIFIER, PREPROCESS, SCORER, SEGMENTER
from engine.bundle.schema import FeatureSchema
from engine.rows.typed import CategoryTables
from training.export.drivers import drivers_graph
from training.export.graph import stamped
from training.export.preprocess import preprocess_graph
from training.export.scorer import core_graph, scorer_graph
from training.export.segmenter import segmenter_graph
from training.model.classifier import Classifier
from training.segments.segments import Segmentation
from training.segments.verdict import segment_verdict

CODE = tuple(Path(str(package.__file__)).parent for package in (engine, training))
PACKAGES = (
    *("polars", "numpy", "onnxruntime", "lightgbm", "scikit-learn", "scipy"),
    *("onnx", "skl2onnx"),
    *("jinja2", "vl-convert-python"),
)
_DECIDING_ENDINGS = (".py", ".toml", ".j2", ".css")


def bundle_contents(
    bundle_id: str,
    schema: FeatureSchema,
    categories: CategoryTables,
    classifier: Classifier,
    segmentation: Segmentation,
) -> dict[str, bytes]:
    """The bytes of the models, by file name; each graph carries the bundle's id."""
    features = schema.model_features
    ids = tuple(segment.id for segment in segmentation.segments)
    preprocess = preprocess_graph(features, categories)
    trees = drivers_graph(classifier.effects, len(features))
    segments = segmenter_graph(segmentation.space, segmentation.centroids, ids, len(features))
    core = core_graph(trees, segments)
    graphs = {
        PREPROCESS: preprocess,
        CLASSIFIER: trees,
        SEGMENTER: segments,
        CORE: core,
        SCORER: scorer_graph(preprocess, core),
    }
    contents = {name: stamped(graph, bundle_id) for name, graph in graphs.items()}
    return contents | {NATIVE_CLASSIFIER: native_text(classifier.booster).encode()}


def native_text(booster: lgb.Booster) -> str:
    """LightGBM's own text of a model, without the ranges of its features.

    The ends of a range are values of single users. LightGBM does not use them to predict.
    """
    before, infos, after = re.split(
        r"^(feature_infos=.*)$", booster.model_to_string(), maxsplit=1, flags=re.MULTILINE
    )
    return before + re.sub(r"\[\S+\]", "[-inf:inf]", infos) + after


def bundle_manifest(
    bundle_id: str,
    schema: FeatureSchema,
    categories: CategoryTables,
    classifier: Classifier,
    segmentation: Segmentation,
    segments: tuple[Segment, ...],
) -> Manifest:
    """The manifest of the fitted models; the writer adds `files`.

    Args:
        bundle_id: `<name>/<version>`.
        schema: The table.
        categories: The codes of categories.
        classifier: The purchase model.
        segmentation: The segments as fitted.
        segments: The same, with names.
    """
    return Manifest(
        bundle_id=bundle_id,
        schema=with_values(schema, categories),
        categories=categories,
        calibration=classifier.calibration,
        base_value=classifier.effects.base,
        threshold=classifier.threshold,
        decile_cuts=classifier.decile_cuts,
        band_cuts=classifier.band_cuts,
        segments=segments,
        retired_segments=segmentation.lineage.retired,
        unusable=classifier.unusable,
        segments_unusable=tuple(segmentation.report["reasons"]),
        segments_verdict=segment_verdict(segmentation.report),
        files={},
    )


def with_values(schema: FeatureSchema, categories: CategoryTables) -> FeatureSchema:
    """The schema, with learned values for categories whose values it does not list."""
    features = (
        f
        if f.values or f.name not in categories
        else replace(f, values=tuple(sorted(categories[f.name])))
        for f in schema.features
    )
    return replace(schema, features=tuple(features))


def bundle_version(last_snapshot: str, *fingerprints: object) -> str:
    """`<last snapshot>-<12 hex digits>` of everything that a bundle is made from; no clock."""
    text = json.dumps([*fingerprints, package_versions(), code_fingerprint()], sort_keys=True)
    return f"{last_snapshot}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def code_fingerprint(packages: Iterable[Path] = CODE) -> str:
    """SHA-256 over the code, the schemas and the templates in the folders of packages."""
    digest = hashlib.sha256()
    for root in packages:
        for path in sorted(p for p in root.rglob("*") if p.suffix in _DECIDING_ENDINGS):
            content = path.read_bytes()
            place = path.relative_to(root.parent).as_posix()
            digest.update(f"{place}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """The versions that decide the bytes of a bundle."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
