"""The page as text: nothing that comes from a run is HTML, script or template; only known scripts may run."""

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pipeline.compare.analysis import Analysis
from pipeline.compare.page.page import as_json, jpeg_uri, number, numbers, packed, page, page_data
from pipeline.compare.runs import TEST, TEST_SCORES, ComparedRun
from pipeline.runtime.files import ROOT
from tests.compare.store import HOSTILE

TEMPLATE = "{{ 7 * 7 }}{% raw %}{# x #}"


class Parsed(HTMLParser):
    """The page as a browser reads it: its title, its policy, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title, self.policy, self.scripts = "", "", []  # type: str, str, list[tuple[bool, str]]
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self._inside = tag
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        if tag == "script":
            self.scripts.append((found.get("type") == "application/json", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)


@pytest.fixture(scope="module")
def text() -> str:
    runs = [
        ComparedRun("1", HOSTILE, "FINISHED", {}, {}),
        ComparedRun("2", TEMPLATE, "FAILED", {}, {}, failure=HOSTILE),
    ]
    return page(Analysis(HOSTILE, runs, [HOSTILE, TEMPLATE], [], None, "", [], {}, notes=[HOSTILE, TEMPLATE]))


def test_only_the_two_scripts_of_the_policy_are_there(text: str) -> None:
    parsed = Parsed(text)
    scripts = [script for is_data, script in parsed.scripts if not is_data]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(hashes) == 2
    assert re.findall(r"'sha256-([^']*)'", parsed.policy) == hashes
    assert parsed.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in parsed.policy.partition("style-src")[0] and "unsafe-eval" not in parsed.policy
    assert "form-action 'none'" in parsed.policy


def test_texts_of_runs_are_data_and_nothing_else(text: str) -> None:
    parsed = Parsed(text)
    assert parsed.title == f"Comparison: {HOSTILE}"
    (data,) = (json.loads(script) for is_data, script in parsed.scripts if is_data)
    assert [run["name"] for run in data["runs"]] == [HOSTILE, TEMPLATE]
    assert data["notes"] == [HOSTILE, TEMPLATE] and data["runs"][1]["failure"] == HOSTILE
    assert HOSTILE not in text and "49" not in data["runs"][1]["name"]
    assert "window.broken" not in re.sub("<title>.*?</title>|<script type=.*?</script>", "", text)


def test_json_in_the_page_contains_no_html() -> None:
    data = {"a": "</script><!--<script>&amp;\u2028\ud800 ]]>", "ü": [None, 0.5, True]}
    text = as_json(data)
    assert text.isascii() and not {"<", ">", "&"} & set(text)
    assert json.loads(text) == data
    with pytest.raises(ValueError, match="Out of range"):
        as_json(float("nan"))


def test_numbers_are_finite_or_absent() -> None:
    assert [number(value) for value in (None, float("nan"), float("inf"), 1 / 3)] == [None, None, None, 0.333333]
    assert numbers(np.array([[1.0, np.nan], [0.25, -1]])) == [[1.0, None], [0.25, -1.0]]


def test_a_packed_mask_is_its_indices_row_by_row() -> None:
    mask = np.array([[0, 1, 255], [7, 0, 0]], np.uint8)
    assert list(zlib.decompress(base64.b64decode(packed(mask) or ""))) == [0, 1, 255, 7, 0, 0]
    assert packed(None) is None


def test_a_photograph_is_embedded_without_its_metadata() -> None:
    photograph = Image.new("RGB", (8, 8), (200, 30, 30))
    photograph.info |= {"exif": b"Exif\0\0secret place", "comment": b"secret note"}
    uri = jpeg_uri(photograph) or ""
    assert uri.startswith("data:image/jpeg;base64,")
    assert b"secret" not in base64.b64decode(uri.partition(",")[2])
    assert jpeg_uri(None) is None


def test_scores_that_no_run_has_are_no_columns() -> None:
    """Runs of earlier versions have neither a Dice score nor a boundary IoU."""
    earlier = ComparedRun("1", "a", "FINISHED", {}, {"test/mean_iou": 0.5}, class_scores={"IoU": {"x": 0.5}})
    later = ComparedRun(
        "2", "b", "FINISHED", {}, {"test/boundary_iou": 0.25, "test/pixel_accuracy": 0.75},
        class_scores={"boundary IoU": {"x": 0.125}},
    )  # fmt: skip
    data = page_data(Analysis("t", [earlier, later], ["a", "b"], [], None, "", [], {}))
    assert [column["name"] for column in data["testScores"]] == ["boundary IoU", "pixel accuracy"]
    assert [run["testScores"]["pixel accuracy"] for run in data["runs"]] == [None, 0.75]
    assert data["classScores"] == ["IoU", "boundary IoU"] and data["classNames"] == ["x"]
    assert [run["testScores"]["boundary IoU"] for run in data["runs"]] == [None, 0.25]
    assert [run["classScores"] for run in data["runs"]] == [{"IoU": [0.5]}, {"boundary IoU": [0.125]}]


def test_every_score_that_the_documentation_lists_is_compared() -> None:
    """As docs/comparing.md says; those of the classes have a chart."""
    text = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(test/\w+)`", text.partition("### Scores")[2].partition("\n## ")[0]))
    assert len(listed) > 5 and listed == {TEST, *TEST_SCORES.values()}
