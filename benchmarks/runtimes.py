"""Every conformance row in every runtime that this machine has: the largest differences, as a table.

Usage: python -m benchmarks.runtimes [BUNDLE] [--into docs/embedding.md]

Each runtime has a program in `examples` that reads the conformance rows and compares by itself. A runtime
whose toolchain or packages are missing is left out, in words on standard error.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from benchmarks.contenders import ROOT
from benchmarks.report import write_between
from engine.bundle.open import CORE, SCORER, open_bundle

DRAWS = ROOT / "examples" / "draws.json"
CAPI = Path(ort.__file__).parent / "capi"
SHOWN = ("margin", "probability", "impacts", "driver_impact", "distances")
_OUTPUT = re.compile(r"^(\w+) +worst difference (\S+), allowed \S+: (?:ok|WRONG)$", re.MULTILINE)
_OTHERS = re.compile(r"^rows with different (driver|segment)s: (\d+)$", re.MULTILINE)


class MissingError(Exception):
    """This machine lacks what a runtime needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program in `examples` that checks a bundle.

    Attributes:
        name: The language, and the package for it.
        tools: Programs that it needs.
        fetch: Fetches its packages, or looks for them; empty if it needs none.
        build: Builds it from what was fetched; empty if that is not needed.
        check: Runs it; `{library}`, `{bundle}` and `{draws}` are filled in.
        graph: The graph that it runs.
    """

    name: str
    tools: tuple[str, ...]
    fetch: tuple[str, ...]
    build: tuple[str, ...]
    check: tuple[str, ...]
    graph: str = SCORER

    def prepare(self, bundle: Path) -> None:
        """Fetch packages and build.

        Raises:
            MissingError: The bundle lacks the graph, a tool is missing, or its packages cannot be had.
            CalledProcessError: It does not build.
        """
        if not (bundle / self.graph).exists():
            raise MissingError(f"{self.name}: the bundle has no {self.graph}; newer ones have")
        absent = [tool for tool in self.tools if shutil.which(tool) is None]
        if absent:
            raise MissingError(f"{self.name}: needs {' and '.join(absent)}")
        if self.fetch and (fetched := run(*self.fetch)).returncode:
            raise MissingError(f"{self.name}: its packages cannot be had:\n{fetched.stderr}")
        if self.build:
            run(*self.build).check_returncode()

    def run(self, bundle: Path) -> subprocess.CompletedProcess[str]:
        """Check the bundle in this folder.

        Raises:
            MissingError: The wheel of ONNX Runtime brings no shared library.
        """
        places = {"library": shared_library(), "bundle": bundle, "draws": DRAWS}
        return run(*(part.format_map(places) for part in self.check))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a program said.

    Attributes:
        version: Of the runtime: for most, ONNX Runtime.
        worst: The largest difference of each output, relative for numbers above 1.
        same_drivers: Whether all drivers are the expected ones.
        same_segments: Whether all segments are.
        same_draws: Whether the hash of control group and arms is that of the engine.
    """

    version: str
    worst: Mapping[str, float]
    same_drivers: bool
    same_segments: bool
    same_draws: bool


CPP = "c++ -std=c++20 -O2 -Wall -Wextra -Werror examples/cpp/check.cpp -o examples/cpp/check"
CORE_PROGRAM = "examples/python/core.py"
CPP_PACKAGES = ("libonnxruntime", "nlohmann_json", "libcrypto")

RUNTIMES = (
    Runtime(
        "Python, `onnxruntime`",
        tools=(),
        fetch=(),
        build=(),
        check=(sys.executable, "examples/python/check.py", "{bundle}", "{draws}"),
    ),
    Runtime(
        "Node, `onnxruntime-node`",
        tools=("node", "npm", "make"),
        fetch=("make", "--silent", "examples/node/node_modules"),
        build=(),
        check=("node", "examples/node/check.mjs", "{bundle}"),
    ),
    Runtime(
        "browser, `onnxruntime-web`",
        tools=("chromium", "npm", "make"),
        fetch=("make", "--silent", "examples/browser/node_modules"),
        build=(),
        check=(sys.executable, "-m", "benchmarks.browser", "{bundle}"),
    ),
    Runtime(
        "Java, `onnxruntime`",
        tools=("javac", "mvn"),
        fetch=(
            *("mvn", "-q", "-B", "-f", "examples/java/pom.xml", "dependency:copy-dependencies"),
            "-DoutputDirectory=target/lib",
        ),
        build=("mvn", "-q", "-B", "-f", "examples/java/pom.xml", "compile"),
        check=(
            *("java", "-cp", "examples/java/target/classes:examples/java/target/lib/*", "Check"),
            *("{bundle}", "{draws}"),
        ),
    ),
    Runtime(
        "Go, `onnxruntime_go`",
        tools=("go", "gcc"),
        fetch=("go", "-C", "examples/go", "mod", "download"),
        build=("go", "-C", "examples/go", "build", "-o", "check"),
        check=("examples/go/check", "{library}", "{bundle}", "{draws}"),
    ),
    Runtime(
        "Rust, `ort`",
        tools=("cargo",),
        fetch=("cargo", "fetch", "--quiet", "--manifest-path", "examples/rust/Cargo.toml"),
        build=(
            *("cargo", "build", "--quiet", "--release", "--offline"),
            *("--manifest-path", "examples/rust/Cargo.toml"),
        ),
        check=("examples/rust/target/release/check", "{library}", "{bundle}", "{draws}"),
    ),
    *(
        Runtime(
            f"{name}, `{package}`",
            tools=("make",),
            fetch=("make", "--silent", "runtimes"),
            build=(),
            check=("build/runtimes/bin/python", CORE_PROGRAM, package, "{bundle}", "{draws}"),
            graph=CORE,
        )
        for name, package in (("OpenVINO", "openvino"), ("tract", "tract"))
    ),
    Runtime(
        "C++",
        tools=("c++", "pkg-config"),
        # Debian 13 has them: libonnxruntime-dev, nlohmann-json3-dev, libssl-dev.
        fetch=("pkg-config", "--exists", "--print-errors", *CPP_PACKAGES),
        build=(*("sh", "-c", f"{CPP} $(pkg-config --cflags --libs {' '.join(CPP_PACKAGES)})"),),
        check=("examples/cpp/check", "{bundle}", "{draws}"),
    ),
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def shared_library() -> Path:
    """ONNX Runtime's shared library, which Python's wheel brings.

    Raises:
        MissingError: It brings none.
    """
    found = sorted(CAPI.glob("libonnxruntime.*"))
    if not found:
        raise MissingError(f"{CAPI}: no libonnxruntime")
    return found[0]


def finding(said: str) -> Finding:
    """Read what a program printed."""
    worst = {name: float(value) for name, value in _OUTPUT.findall(said)}
    # Where a program allows ties, it counts the rows that differ.
    others = {"driver": worst["driver_index"], "segment": worst["segment"]}
    others |= {name: float(rows) for name, rows in _OTHERS.findall(said)}
    (version,) = re.findall(r"\d+\.\d+\.\d+", said.splitlines()[0])
    return Finding(
        version,
        worst,
        same_drivers=others["driver"] == 0,
        same_segments=others["segment"] == 0,
        same_draws="draws of control group and arms: ok" in said,
    )


def table(findings: Iterable[tuple[str, Finding]], rows: int) -> str:
    """One row a runtime."""
    head = ["runtime", "version", *SHOWN, "drivers", "segments", "control group and arms"]
    lines = [head, ["---", "---", *["---:"] * len(SHOWN), "---", "---", "---"]]
    lines += [
        [
            name,
            found.version,
            *(f"{found.worst[output]:.1g}" for output in SHOWN),
            *(
                "same" if same else "DIFFERENT"
                for same in (found.same_drivers, found.same_segments, found.same_draws)
            ),
        ]
        for name, found in findings
    ]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{text}\nThe largest difference from what the bundle expects, over {rows:,} conformance rows.\n"


def checked(runtimes: Sequence[Runtime], bundle: Path) -> Iterable[tuple[str, Finding]]:
    """What each runtime of this machine found."""
    for runtime in runtimes:
        try:
            runtime.prepare(bundle)
            said = runtime.run(bundle)
        except MissingError as missing:
            print(missing, file=sys.stderr)
            continue
        said.check_returncode()
        yield runtime.name, finding(said.stdout)


def main() -> None:
    """Check the bundle, print the table and write it."""
    parser = argparse.ArgumentParser(description="Conformance rows in every runtime.")
    parser.add_argument("bundle", type=Path, nargs="?", default=ROOT / "onnx_models" / "shopnow")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    rows = int(re.search(rb'"rows": (\d+)', bundle.contents["conformance/conformance.json"])[1])
    text = table(checked(RUNTIMES, bundle.path), rows)
    print(text)
    if options.into is not None:
        write_between(options.into, "runtimes", text)


if __name__ == "__main__":
    main()
