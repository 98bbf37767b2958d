"""The what-if page: model, runtime and facts as one file that loads nothing else."""

import re
from importlib.resources import files

from engine.bundle.open import SCORER, Bundle
from engine.pages.html import OWN, as_base64, environment, inline_json, source, source_hash, visible
from training.report.subject import Subject
from training.report.summary import badge
from training.report.what_if.facts import page_facts
from training.report.what_if.typical import Usual

PAGE = "index.html"
RUNTIME_LICENCES = {
    "LICENSE-onnxruntime.txt": "LICENSE",
    "ThirdPartyNotices-onnxruntime.txt": "ThirdPartyNotices.txt",
}
"""The files beside the page, and their names in the package."""

WHAT_IF = "training.report.what_if"
RUNTIME = files(WHAT_IF) / "runtime"
_SCRIPTS = (
    *("model.js", "scale.js", "words.js", "controls.js"),
    *("row.js", "link.js", "answer.js", "main.js"),
)
_MODULE = "ort.wasm.bundle.min.mjs"
_WASM = "ort-wasm-simd-threaded.wasm.gz"
_EXPORTS = re.compile(r"export\{([^}]*)\};?")
_EXPORT = re.compile(r"([\w$]+) as ([\w$]+)")
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


def what_if_files(bundle: Bundle, subject: Subject, usual: Usual) -> dict[str, bytes]:
    """The files of the folder, by name; equal bundles and users give equal bytes.

    Args:
        bundle: The bundle whose scorer runs in the page.
        subject: Its quality, as in the report.
        usual: Where the page starts from, and which numbers are whole.
    """
    licences = {name: (RUNTIME / held).read_bytes() for name, held in RUNTIME_LICENCES.items()}
    return {PAGE: what_if_html(bundle, subject, usual).encode(), **licences}


def what_if_html(bundle: Bundle, subject: Subject, usual: Usual) -> str:
    """One self-contained HTML page."""
    parts = {
        "runtime": runtime_script(),
        "script": "\n".join(source(WHAT_IF, name) for name in _SCRIPTS),
        "style": source(OWN, "page.css") + source(WHAT_IF, "what_if.css"),
    }
    template = environment(WHAT_IF, visible).get_template("what_if.html.j2")
    return template.render(
        **parts,
        **{f"{name}_hash": source_hash(text) for name, text in parts.items()},
        manifest=bundle.manifest,
        quality=subject.quality,
        badge=badge(subject.quality),
        event=subject.event,
        facts=inline_json(page_facts(bundle, subject, usual)),
        model=as_base64(bundle.contents[SCORER]),
        wasm=as_base64((RUNTIME / _WASM).read_bytes()),
    )


def runtime_script() -> str:
    """ONNX Runtime Web as a script within a page, which sets `globalThis.ort`.

    NOTE: a script within a page cannot be imported by another, and a page opened from disk may not
    import files. So the exports of the module become a global object.
    """
    text = _SOURCE_MAP.sub("", (RUNTIME / _MODULE).read_text(encoding="utf-8"))
    return _EXPORTS.sub(_as_global, text).strip()


def _as_global(exports: re.Match[str]) -> str:
    names = ",".join(f'"{public}":{private}' for private, public in _EXPORT.findall(exports[1]))
    return f"globalThis.ort={{{names}}};"
