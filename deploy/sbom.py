"""Bills of materials in CycloneDX 1.6: what the engine is made of, and what a bundle is.

`make sbom` runs it. The same lock file and bundle give the same bytes: no clock, no random serial number.
"""

import hashlib
import json
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import click
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import MANIFEST, Bundle, file_digests, open_bundle

ROOT = Path(__file__).parents[1]
PROJECT = "shopnow-scoring"
WEB = "onnxruntime-web"
WEB_FILES = ROOT / "training/report/what_if/runtime"
METRICS = ("roc_auc", "pr_auc", "f1", "log_loss", "brier", "calibration_error")

Json = dict[str, Any]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), required=True, help="A folder.")
def main(bundle: Path, into: Path) -> None:
    """Write engine.cdx.json and bundle.cdx.json."""
    documents = {"engine": engine_document(), "bundle": bundle_document(open_bundle(bundle))}
    for name, document in documents.items():
        (into / f"{name}.cdx.json").write_text(json.dumps(document, indent=1) + "\n")


def engine_document() -> Json:
    """The distribution, the packages of `requirements.lock`, and the part of ONNX Runtime Web in it."""
    packages = locked_packages((ROOT / "requirements.lock").read_text())
    web = web_component()
    depends = {package["bom-ref"]: needed(package["name"], packages) for package in packages}
    version = distribution(PROJECT).version
    root = {**library("pypi", PROJECT, version), "licenses": [{"expression": "Apache-2.0"}]}
    depends[root["bom-ref"]] = [*needed(PROJECT, packages), web["bom-ref"]]
    return document({**root, "type": "application"}, [*packages, web], depends)


def bundle_document(bundle: Bundle) -> Json:
    """A bundle as a model: what it was measured to do, and each of its files."""
    name, version = bundle.manifest.bundle_id.rsplit("/", maxsplit=1)
    digests = file_digests(bundle)
    model = {
        "type": "machine-learning-model",
        "bom-ref": bundle.manifest.bundle_id,
        "name": name,
        "version": version,
        "description": f"Purchase model and segments; the hash is that of {MANIFEST}.",
        "hashes": [sha256(digests[MANIFEST])],
        "modelCard": model_card(bundle),
    }
    files = [file_component(name, digest) for name, digest in sorted(digests.items())]
    return document(model, files, {model["bom-ref"]: [file["bom-ref"] for file in files]})


def document(component: Json, components: list[Json], depends: dict[str, list[str]]) -> Json:
    """A whole document about a component, valid by the schema of CycloneDX."""
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component},
        "components": components,
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(needs)} for ref, needs in sorted(depends.items())
        ],
    }
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made))
    if fault is not None:
        raise click.ClickException(f"not CycloneDX: {fault}")
    return made


def locked_packages(lock: str) -> list[Json]:
    """A component for each package of a lock file, with the hashes of the files that may be installed."""
    found = []
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        requirement = Requirement(entry.split(" \\\n")[0])
        (version,) = (pin.version for pin in requirement.specifier)
        package = library("pypi", requirement.name, version)
        hashes = [sha256(digest) for digest in re.findall("sha256:([0-9a-f]{64})", entry)]
        reference = {"type": "distribution", "url": package["purl"], "hashes": hashes}
        package |= licence(requirement.name, version) | {"externalReferences": [reference]}
        if requirement.marker is not None:
            package["properties"] = [{"name": "marker", "value": str(requirement.marker)}]
        found.append(package)
    return found


def library(kind: str, name: str, version: str) -> Json:
    """A package of an index, under the name that all bills of materials give it."""
    purl = f"pkg:{kind}/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def licence(name: str, version: str) -> Json:
    """The licence that a package states, if it is installed here in this version."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return {}
    expression, text = (found.metadata[field] for field in ("License-Expression", "License"))
    if found.version != version or not (expression or text):
        return {}
    stated = (
        {"expression": expression} if expression else {"license": {"name": text.split("\n")[0]}}
    )
    return {"licenses": [stated]}


def needed(name: str, packages: list[Json]) -> list[str]:
    """What a package asks for on this machine, as references to the packages that are locked."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return []
    requirements = map(Requirement, found.requires or ())
    names = {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    return [package["bom-ref"] for package in packages if package["name"] in names]


def web_component() -> Json:
    """ONNX Runtime Web, of which the what-if page contains two files."""
    lock = json.loads((ROOT / "examples/browser/package-lock.json").read_text())
    version = lock["packages"][f"node_modules/{WEB}"]["version"]
    files = sorted(path for path in WEB_FILES.iterdir() if path.suffix in (".mjs", ".gz"))
    parts = [
        file_component(
            path.relative_to(ROOT).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in files
    ]
    package = library("npm", WEB, version)
    return {**package, "licenses": [{"expression": "MIT"}], "components": parts}


def model_card(bundle: Bundle) -> Json:
    """What a bundle was trained on, and how good it is on its test users."""
    evaluation = read_evaluation(bundle)
    training = evaluation.fit.training
    fingerprints = [
        {"name": name, "value": str(training[name])}
        for name in ("data_fingerprint", "schema_fingerprint", "seed", "rows")
    ]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "tabular-classification",
            "architectureFamily": "gradient-boosted trees, KMeans",
            "datasets": [
                {
                    "type": "dataset",
                    "name": "training users",
                    "contents": {"properties": fingerprints},
                }
            ],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                metric(name, evaluation.metrics[name], evaluation.metrics["intervals"].get(name))
                for name in METRICS
                if evaluation.metrics.get(name) is not None
            ]
        },
    }


def metric(name: str, value: float, interval: list[float] | None) -> Json:
    """A figure of the test users, with its 95 % interval if there is one."""
    found: Json = {"type": name, "value": str(value)}
    if interval is not None:
        low, high = map(str, interval)
        found["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
    return found


def file_component(name: str, digest: str) -> Json:
    """A file with its SHA-256."""
    return {"type": "file", "bom-ref": name, "name": name, "hashes": [sha256(digest)]}


def sha256(digest: str) -> Json:
    """A hash as CycloneDX has it."""
    return {"alg": "SHA-256", "content": digest}


if __name__ == "__main__":
    main()
