"""Conditions on runs: what they accept, and that nothing in them is evaluated."""

from typing import Any

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tracking.conditions import check_names, parse_conditions

ROW: dict[str, Any] = {
    "best/val_mean_iou": 0.75, "model.width": 8, "model.name": "unet", "evaluate.flip": True, "test/iou/a b": 0.5,
    "long_side": None, "status": "FINISHED",
}  # fmt: skip


def meets(where: str) -> bool:
    return all(condition.holds(ROW) for condition in parse_conditions(where))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("best/val_mean_iou > 0.5", True),
        ("best/val_mean_iou>=0.75 and model.width = 8", True),
        ("best/val_mean_iou > 0.5 AND model.width != 8", False),
        ("model.width == 8.0", True),
        ("model.width < 1e1", True),
        ("model.name = unet", True),
        ("model.name != 'unet'", False),
        ('status = "FINISHED"', True),
        ("evaluate.flip = true", True),
        ("evaluate.flip = false", False),
        ("test/iou/a b <= 0.5", True),
        ("long_side = null", True),
        ("long_side != null", False),
        ("long_side > 5", False),
        ("model.width = null", False),
        ("absent = 1", False),
        ("absent != 1", True),
    ],
)
def test_numbers_are_compared_as_numbers_and_text_as_text(where: str, expected: bool) -> None:
    assert meets(where) is expected


@pytest.mark.parametrize("where", ["", "a", "a >", "> 5", "a = 1 and", "a = 1 and and b = 2", "__import__('os')"])
def test_what_is_no_condition_is_refused(where: str) -> None:
    with pytest.raises(UserError, match=r"a name, one of .* and a value expected: where="):
        parse_conditions(where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("model.name > unet", "model.name is text, such as 'unet'; = or != expected"),
        ("model.width > wide", "model.width is a number, so 'wide' cannot be compared with it"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(where: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        meets(where)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        check_names(parse_conditions("model.widht = 8 and status = FINISHED and nothing = 1"), list(ROW))
    first, second = raised.value.faults
    assert first.startswith("where: model.widht: no key") and "model.width" in first and "nothing" in second
