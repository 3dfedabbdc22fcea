"""LiteRT files: the run's masks by LiteRT's interpreter, metadata at the end of the file, 8 bits."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.export.networks import CLASSES, VIEWS, assert_probabilities, assert_same_masks, export_of, need, smooth_image

need("ai_edge_litert")
from ai_edge_litert.interpreter import Interpreter  # noqa: E402


def test_views_and_windows_give_the_runs_masks(tmp_path: Path) -> None:
    export = export_of("litert", *VIEWS)
    export.write(tmp_path / "a.tflite", [])
    assert_same_masks(export, tmp_path / "a.tflite", differing=0.005)


@pytest.fixture(scope="module")
def probabilities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "a.tflite"
    export_of("litert", probabilities=True).write(path, [])
    return path


def test_the_signature_names_input_and_probabilities(probabilities: Path) -> None:
    interpreter = Interpreter(str(probabilities))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["probabilities"]}}
    assert_probabilities(export_of("litert").open(probabilities)(smooth_image(9, 14)[np.newaxis]))


def test_the_metadata_are_a_zip_archive_at_the_end(probabilities: Path) -> None:
    with zipfile.ZipFile(probabilities) as archive:
        found = json.loads(archive.read("metadata.json"))
    assert (found["run_id"], found["weights_sha256"], found["classes"]) == ("a run", "abc", CLASSES)


def test_ranges_of_eight_bits_come_from_the_images(tmp_path: Path, probabilities: Path) -> None:
    images, export = (
        [smooth_image(16, 24, seed) for seed in range(4)],
        export_of("litert", probabilities=True, quantized=True),
    )
    export.write(tmp_path / "int8.tflite", images)
    found, exact = (export.open(path)(images[0][np.newaxis]) for path in (tmp_path / "int8.tflite", probabilities))
    assert_probabilities(found, precision=0.02)
    assert 0 < np.abs(found - exact).max() < 0.2
