"""The pictures of the documents and the quickstart's output, from the committed bundle.

Usage: python -m benchmarks.pictures
"""

import os
import pty
import re
import shutil
import sys
import tempfile
from html import escape
from pathlib import Path
from subprocess import PIPE, STDOUT, run

from playwright.sync_api import Page, sync_playwright

from benchmarks.contenders import BIN, BUNDLE, ROOT
from benchmarks.report import README, write_between

FOLDER = ROOT / "docs" / "pictures"
CHROMIUM_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
COLUMNS = 100
WINDOW = {"width": 1200, "height": 760}
SHOWN_LINES = 18
"""Of a command's output; more would be too small to read in a picture."""
TYPICAL_USER = 2
"""The button of a segment with a high probability, so that the picture shows reasons."""
# A week after the committed bundle's training data: users it has not seen.
HOLDOUT = ("--as-of", "2026-11-29", "--rows", "60000", "--with-truth")
COMMANDS = (
    ("engine", "score", "users.parquet", "--out", "scores.parquet", "--if-exists", "replace"),
    ("engine", "explain", "users.parquet", "--user", "U00000001"),
)
BADGES = {
    "python": ("python", "3.11+"),
    "platform": ("platform", "Linux | macOS"),
    "onnx": ("ONNX", "opset 17, no custom operators"),
    "license": ("license", "Apache-2.0"),
}
BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">
<rect width="{width}" height="20" rx="4" fill="#424a53"/>
<path d="M{left} 0h{right}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-{right}z" fill="#0969da"/>
<g fill="#ffffff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">
<text x="6" y="14">{label}</text><text x="{start}" y="14">{value}</text></g></svg>
"""
LETTER = 7
"""Pixels that a letter takes at most at the size of a badge."""

TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #0d1117 }}
pre {{ display: inline-block; width: 104ch; white-space: pre-wrap; margin: 0; padding: 20px 24px; color: #e6edf3;
      font: 14px/1.45 "DejaVu Sans Mono", monospace }}
.p {{ color: #7d8590 }} .s1 {{ font-weight: 700 }} .s2 {{ color: #7d8590 }}
.s31, .s91 {{ color: #ff7b72 }} .s32, .s92 {{ color: #3fb950 }} .s33, .s93 {{ color: #d29922 }}
</style><pre>{text}</pre>"""


def main() -> None:
    """Make every picture."""
    write_between(README, "quickstart", quickstart())
    for name, (label, value) in BADGES.items():
        (FOLDER / "badges" / f"{name}.svg").write_text(badge(label, value))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        make_pages(folder)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_OPTIONS
        )
        for scheme in ("light", "dark"):
            window = browser.new_page(
                viewport=WINDOW, color_scheme=scheme, reduced_motion="reduce", device_scale_factor=1
            )
            window.goto((folder / "report.html").as_uri())
            window.screenshot(path=FOLDER / f"plan_{scheme}.png")
            shoot_what_if(
                window, folder / "what_if" / "index.html", FOLDER / f"what_if_{scheme}.png"
            )
            window.close()
        # The users of the quickstart.
        shutil.copy(ROOT / "users.parquet", folder)
        text = "\n".join(terminal_text(command, folder) for command in COMMANDS)
        (folder / "terminal.html").write_text(TERMINAL.format(text=text), encoding="utf-8")
        window = browser.new_page(viewport=WINDOW)
        window.goto((folder / "terminal.html").as_uri())
        window.locator("pre").screenshot(path=FOLDER / "terminal.png")
        browser.close()


def quickstart() -> str:
    """What `make score` prints."""
    # Without the variables of an outer `make`, which would make this one print its directory.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    # As in a fresh clone.
    for name in ("users.parquet", "scores.parquet", "scores.parquet.summary.json"):
        (ROOT / name).unlink(missing_ok=True)
    done = run(
        ["make", "score"], cwd=ROOT, env=alone, check=True, stdout=PIPE, stderr=STDOUT, text=True
    )
    lines = done.stdout.strip().splitlines()
    return "```text\n" + "".join(f"{line.rstrip()}\n" for line in lines) + "```\n"


def badge(label: str, value: str) -> str:
    """A label and a value side by side, as SVG."""
    left = LETTER * len(label) + 12
    right = LETTER * len(value) + 12
    return BADGE.format(
        label=label, value=value, left=left, right=right - 4, width=left + right, start=left + 6
    )


def make_pages(folder: Path) -> None:
    """Simulate users and write the report and the what-if page of the committed bundle."""
    for command in (
        ("simulate", *HOLDOUT, "--out", "holdout.parquet"),
        ("report", BUNDLE, "holdout.parquet", "--out", "report.html", "--what-if", "what_if"),
    ):
        run([BIN / "training", *command], cwd=folder, check=True)


def terminal_text(command: tuple[str, ...], folder: Path) -> str:
    """A command with its output on a terminal, as HTML."""
    chunks: list[bytes] = []

    def keep(descriptor: int) -> bytes:
        chunks.append(os.read(descriptor, 65_536))
        # Nothing is shown here; an empty answer would end the session.
        return chunks[-1]

    os.environ |= {
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
        "ENGINE_BUNDLE": str(ROOT / BUNDLE),
    }
    before = Path.cwd()
    os.chdir(folder)
    sys.stdout.flush()
    pty.spawn([str(BIN / command[0]), *command[1:]], keep)
    os.chdir(before)
    shown = from_ansi(b"".join(chunks).decode()).splitlines()
    more = ["  …", ""] if len(shown) > SHOWN_LINES else [""]
    return "\n".join(
        [f'<span class="p">$</span> {escape(" ".join(command))}', *shown[:SHOWN_LINES], *more]
    )


def from_ansi(text: str) -> str:
    """The final text of a terminal as HTML, with its colours."""
    text = text.replace("\r\n", "\n")
    # A progress bar overwrites its line; what was written last stays.
    lines = [
        re.sub(r"\x1b\[\?25[lh]|\x1b\[K", "", line).split("\r")[-1] for line in text.split("\n")
    ]
    html = escape("\n".join(lines))
    html = re.sub(r"\x1b\[0?m", "</span>", html)
    return re.sub(r"\x1b\[(\d+)m", r'<span class="s\1">', html)


def shoot_what_if(window: Page, page: Path, picture: Path) -> None:
    """A typical user of some segment, once the model has answered."""
    window.goto(page.as_uri())
    window.get_by_role("button").nth(TYPICAL_USER).click()
    window.get_by_text("being loaded").wait_for(state="hidden")
    window.screenshot(path=picture)


if __name__ == "__main__":
    main()
