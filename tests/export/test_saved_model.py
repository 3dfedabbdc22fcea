"""SavedModels: the run's masks to the last bit, in its own precision."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.runtime.keras_settings import keras_set
from tests.export.networks import CLASSES, VIEWS, assert_probabilities, assert_same_masks, export_of, smooth_image


def test_half_precision_views_and_windows_give_the_same_bits(tmp_path: Path) -> None:
    with keras_set("mixed_bfloat16"):
        export = export_of("saved_model", *VIEWS, "precision=mixed_bfloat16")
        export.write(tmp_path / "a", [])
        assert_same_masks(export, tmp_path / "a")
    assert list(export.networks()) == ["the run's network, mixed_bfloat16"]


def test_signature_and_metadata(tmp_path: Path) -> None:
    export_of("saved_model", probabilities=True).write(tmp_path / "a", [])
    signature = tf.saved_model.load(str(tmp_path / "a")).signatures["serving_default"]
    assert_probabilities(signature(images=tf.constant(smooth_image(9, 14)[np.newaxis]))["probabilities"].numpy())
    found = json.loads((tmp_path / "a/assets.extra/metadata.json").read_text())
    assert (found["run_id"], found["classes"], found["precision"]) == ("a run", CLASSES, "float32")
