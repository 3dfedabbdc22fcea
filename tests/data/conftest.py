"""What several tests of checks need."""

import pytest

from pipeline.data import check
from pipeline.data.pixels import PixelRules
from pipeline.data.voc import Example


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the pairs that are decoded from here on."""
    ids: list[str] = []
    original = check.check_pair

    def counting(example: Example, classes: int, rules: PixelRules) -> tuple[list[str], list[int]]:
        ids.append(example.id)
        return original(example, classes, rules)

    monkeypatch.setattr(check, "check_pair", counting)
    return ids
