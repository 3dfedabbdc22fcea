"""Keys by their dotted names, and what they may be in words."""

import pytest
from omegaconf import OmegaConf

from pipeline.config.keys import allowed, as_typed, flatten
from tests.configs import DEFAULT, KEYS


def test_leaves_of_the_class_are_those_of_a_configuration() -> None:
    assert list(flatten(DEFAULT)) == KEYS


def test_flatten_keeps_values_as_they_are() -> None:
    flat = flatten(DEFAULT)
    assert flat["model.depth"] == 4
    assert flat["dataset.splits.val"] == "val"
    assert flat["long_side"] == 64
    assert flat["dataset.classes"][0] == "background"
    assert flat["tracking.uri"] is None


def test_words_for_what_is_allowed() -> None:
    limits = {"choices": (), "least": None, "above": 0, "most": 5, "below": None}
    assert allowed(limits) == "more than 0 and at most 5"
    assert allowed({**limits, "choices": ("a", "b", "c")}) == "a, b or c or more than 0 and at most 5"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (0.5, "0.5"), ("a", "a"), ([1, None], "[1,null]"),
        (OmegaConf.create(["a", "b"]), "[a,b]"),
    ],
)  # fmt: skip
def test_a_value_as_it_is_typed(value: object, text: str) -> None:
    assert as_typed(value) == text
