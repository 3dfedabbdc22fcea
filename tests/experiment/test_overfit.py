"""The verdict on images that were to be learnt by heart."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.evaluate.metrics import Scores
from pipeline.experiment.overfit import conclude
from pipeline.runtime.errors import RunFailed
from tests.configs import config_with

DATASET: Any = SimpleNamespace(classes=["a", "b"], splits={"train": range(8)})
LEARNT, HALF, ONE_CLASS = [[99, 1], [1, 99]], [[60, 40], [40, 60]], [[100, 0], [100, 0]]


def verdict(matrix: list[list[int]], losses: list[float], capsys: pytest.CaptureFixture[str], **keys: Any) -> str:
    trained: Any = SimpleNamespace(best_scores=Scores(np.array(matrix, np.int64), 0.5), best_epoch=2)
    conclude(config_with(overfit=True, **keys), DATASET, trained, dict(enumerate(losses, 1)))
    return capsys.readouterr().out


def test_learnt_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(LEARNT, [1.0, 0.1], capsys).startswith(
        "overfit: the 8 images were learnt, mean IoU 0.9802 after 2 ep"
    )


@pytest.mark.parametrize(
    ("matrix", "losses", "keys", "causes"),
    [
        (ONE_CLASS, [1.0, 0.9], {}, ["one class is predicted everywhere", "the loss has hardly fallen (to 90%)"]),
        (HALF, [1.0, 0.5], {"epochs": 2}, ["the loss is still falling (to 50%): epochs=4"]),
        (
            HALF,
            [1.0, 0.1],
            {"optimizer__ema": 0.9},
            ["what is trained is not what is scored", "optimizer.ema=0.9 lags"],
        ),
        (
            HALF,
            [1.0, 0.9],
            {"model__name": "unet_vgg16", "optimizer__encoder_rate": 0.0},
            ["the frozen encoder may lack"],
        ),
    ],
)
def test_the_likely_causes(
    matrix: list[list[int]],
    losses: list[float],
    keys: dict[str, Any],
    causes: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RunFailed, match=r"instead of 0\.95 on 8 images after 2 epochs: something is wrong"):
        verdict(matrix, losses, capsys, **keys)
    printed = capsys.readouterr().out
    assert all(cause in printed for cause in [*causes, "masks that do not fit their images", "model.width=32"])
