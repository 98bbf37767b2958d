import json
import re

from engine.bundle.manifest import BANDS
from tests.helpers import BUNDLE, invoke


def test_inspect_is_one_screen(scorer):
    output = invoke("inspect", BUNDLE).output
    assert output.startswith(
        f"bundle {scorer.manifest.bundle_id} (format {scorer.manifest.format})\nusable: passed every quality check"
    )
    for text in (*(s.name for s in scorer.manifest.segments), "ROC-AUC", "will purchase from"):
        assert text in output
    assert re.search(r"38 features, \d+ files, \d\.\d MB", output)
    assert output.count("\n") < 35


def test_inspect_shows_everything_on_request(scorer):
    result = invoke("inspect", BUNDLE, "--full")
    assert result.exit_code == 0
    for text in ("38 features", "sessions_last_7d", "roc_auc", "scorer.onnx", "playbook"):
        assert text in result.output
    for title, parts in (("segment", scorer.manifest.segments), ("band", BANDS)):
        lines = result.output.split(f"top drivers by {title}\n")[1].split("\n\n")[0].splitlines()
        assert len(lines) == len(parts)
        assert all(line.count(", ") == 2 for line in lines)


def test_inspect_gives_manifest_and_evaluation_as_json(scorer):
    document = json.loads(invoke("inspect", BUNDLE, "--json").output)
    assert document["bundle_id"] == document["evaluation"]["bundle_id"] == scorer.manifest.bundle_id
    assert document["evaluation"]["metrics"]["roc_auc"] > 0.5
