"""HTML from templates: every text is escaped, and inline code is allowed by its hash alone."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from engine.pages.format import shown

OWN = "engine.pages"


def environment(package: str, finalize: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - jinja2 is loaded late
    """The templates of a package and of this one; every value goes through `finalize`, then is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(OWN)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["verbatim"] = Markup
    return made


def visible(value: Any) -> Any:  # noqa: ANN401
    """Texts without invisible characters; anything else as it is."""
    return shown(value) if type(value) is str else value


def source(package: str, name: str) -> str:
    """A style sheet or script among the templates of a package."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


def inline_json(facts: Mapping[str, Any]) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def source_hash(text: str) -> str:
    """The hash by which a content security policy allows an inline script or style."""
    return f"'sha256-{as_base64(hashlib.sha256(text.encode()).digest())}'"


def as_base64(content: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(content).decode("ascii")
