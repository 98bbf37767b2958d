"""Blocks as lines of text, numbers for people, and where a page may be written."""

import base64
import hashlib
import json

import numpy as np
import pytest

from engine.errors import CannotCreateError
from engine.pages.bins import BINS, bin_numbers, bin_width
from engine.pages.blocks import Section, Text, table
from engine.pages.format import plain
from engine.pages.html import inline_json, source_hash
from engine.pages.place import check_place
from engine.pages.text import LEGEND, section_lines


def test_dashes_are_explained_where_a_table_has_one():
    known, unknown = (
        [Section("s", "Title", [Text("Quiet – a sentence."), table("", ("a", "b"), [("c", cell)])])]
        for cell in ("1", "–")
    )
    assert LEGEND not in list(section_lines(known))
    assert list(section_lines(unknown))[-1] == LEGEND


def test_headings_in_a_terminal_keep_ids_as_they_are():
    section = Section("s", "Bundle shop/2026-11-22-1f", [Text("A sentence.")])
    assert "BUNDLE shop/2026-11-22-1f" in list(section_lines([section]))


def test_very_large_values_are_shown_in_few_digits():
    assert [plain(x) for x in (3.4e38, -1e15, 1e14)] == ["3.4e+38", "−1e+15", "100,000,000,000,000"]


def test_json_in_a_page_cannot_end_its_script_and_is_the_same_value():
    value = {"name": "</script><!--"}
    text = inline_json(value)
    assert "<" not in text
    assert json.loads(text) == value


def test_a_source_is_allowed_by_its_hash():
    digest = base64.b64encode(hashlib.sha256("é".encode()).digest()).decode()
    assert source_hash("é") == f"'sha256-{digest}'"


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ("", False),
        ('<meta name="generator" content="engine report">', False),
        ('<meta name="generator" content="training report">', True),
        ("a diary", True),
    ],
)
def test_only_an_earlier_page_of_its_kind_is_replaced(tmp_path, content, refused):
    out = tmp_path / "tonight.html"
    check_place(out, "engine report")
    out.write_text(content)
    if refused:
        with pytest.raises(CannotCreateError, match="exists and is not a report"):
            check_place(out, "engine report")
    else:
        check_place(out, "engine report")


@pytest.mark.parametrize(
    ("top", "width"), [(0.01, 0.0005), (0.5, 0.02), (0.9, 0.025), (1.0, 0.025)]
)
def test_bins_reach_the_scores_and_the_last_is_open(top, width):
    assert bin_width(top) == width
    assert bin_numbers(np.array([0.0, 1.0]), width).tolist() == [0, BINS - 1]
