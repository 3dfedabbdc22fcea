"""Exact scores: the Evaluator against a plain loop over files in NumPy."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.config.schema import Config, LossConfig, ModelConfig
from pipeline.data import decode
from pipeline.data.image_files import read_index_mask
from pipeline.data.palette import VOID
from pipeline.data.voc import Example
from pipeline.evaluate.evaluator import BatchScorer, Evaluator, confusion_matrix
from pipeline.evaluate.metrics import Scores, image_confusion_matrix, mean_iou
from pipeline.model.inference import class_indices, predict_logits
from pipeline.model.losses import SegmentationLoss
from pipeline.model.tta import Views
from pipeline.model.unet import build_unet

CLASSES = 3
SIZES = [(24, 32), (9, 30), (32, 24), (17, 25), (20, 28), (13, 2)]
WEIGHTS = np.array([0.5, 1.0, 2.0], np.float32)
LOSS = LossConfig(1.0, 0.0, "median_frequency", 0.5)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_unet(ModelConfig("unet", 2, 4, "batch", 0.2, "bilinear"), CLASSES, seed=1)


@pytest.fixture
def examples(voc_folder: Callable[..., Path]) -> list[Example]:
    """Eleven images of mixed sizes, one of them with void pixels only."""
    root = voc_folder(train=0, val=11, test=0, size=SIZES)
    ids = [f"val_{index}" for index in range(11)]
    examples = [
        Example(name, root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png") for name in ids
    ]
    Image.fromarray(np.full((32, 24), VOID, np.uint8)).save(examples[2].mask)
    return examples


def sizes_of(examples: list[Example]) -> np.ndarray:
    return np.array([read_index_mask(example.mask).shape for example in examples])


def config(long_side: int | None, batch_size: int) -> Config:
    wanted = Config(long_side=long_side)
    wanted.dataset.classes = ["background", "cat", "dog"]
    wanted.model.depth = 2
    wanted.evaluate.batch_size = batch_size
    return wanted


def evaluator(model: keras.Model, examples: list[Example], long_side: int | None, batch_size: int) -> Evaluator:
    wanted = config(long_side, batch_size)
    scorer = BatchScorer(model, SegmentationLoss(LOSS, WEIGHTS), wanted)
    return Evaluator(scorer, examples, sizes_of(examples), wanted)


def counted(mask: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Pixel by pixel."""
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    for truth, predicted in zip(mask.ravel(), prediction.ravel(), strict=True):
        if truth != VOID:
            matrix[truth, predicted] += 1
    return matrix


@pytest.mark.parametrize(("long_side", "batch_sizes"), [(None, (1, 2, 16)), (20, (3,)), (48, (3, 5))])
def test_scores_are_those_of_a_plain_loop(
    model: keras.Model, examples: list[Example], long_side: int | None, batch_sizes: tuple[int, ...]
) -> None:
    """Which decodes, predicts and counts each image alone; for any batch size, and equal to the bit."""
    one_image = tf.function(
        lambda padded, working, own: predict_logits(model, padded, working, own, Views(4)),
        input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), *2 * [tf.TensorSpec(2, tf.int32)]],
    )
    matrix, losses, pixels, image_iou, predictions = np.zeros((CLASSES, CLASSES), np.int64), [], [], {}, {}
    for example in examples:
        with Image.open(example.mask) as opened:
            mask = np.array(opened)
        scaled = decode.scale_image(decode.decode_image(str(example.image)), long_side)
        padded = decode.pad_reflect(scaled, 4)
        logits = one_image(padded, tf.shape(scaled)[:2], tf.constant(mask.shape))
        predictions[example.id] = class_indices(logits).numpy()
        counts = counted(mask, predictions[example.id])
        matrix += counts
        losses.append(float(SegmentationLoss(LOSS, WEIGHTS)(mask[np.newaxis], logits[tf.newaxis])))
        pixels.append((mask != VOID).sum())
        if counts.any():
            image_iou[example.id] = mean_iou(counts)
    assert len(np.unique(matrix)) > 4  # an untrained network still predicts several classes

    losses_found = set()
    for batch_size in batch_sizes:
        handed: dict[str, np.ndarray] = {}
        reported: list[tuple[int, int]] = []

        def record(example: Example, prediction: np.ndarray, handed: dict[str, np.ndarray] = handed) -> None:
            assert example.id not in handed
            handed[example.id] = prediction.copy()

        scores = evaluator(model, examples, long_side, batch_size)(
            record, lambda *now, reported=reported: reported.append(now)
        )
        assert scores.confusion_matrix.dtype == np.int64
        np.testing.assert_array_equal(scores.confusion_matrix, matrix)
        assert scores.loss == pytest.approx(np.average(losses, weights=pixels), rel=1e-5)
        assert scores.image_iou == image_iou
        assert handed.keys() == predictions.keys()
        for name, prediction in handed.items():
            assert prediction.dtype == np.uint8
            np.testing.assert_array_equal(prediction, predictions[name])
        assert reported[-1] == (11, 11)
        assert [done for done, _ in reported] == sorted({done for done, _ in reported})
        losses_found.add(scores.loss)
    assert len(losses_found) == 1


def test_scores_follow_the_current_weights(model: keras.Model, examples: list[Example]) -> None:
    """The graph is compiled once, without weights as constants: another bias gives another class."""
    evaluate = evaluator(model, examples, None, 4)
    before = evaluate()
    last = model.get_layer("logits")
    before_change = [weight.numpy() for weight in last.weights]
    last.set_weights([np.zeros_like(before_change[0]), np.array([0, 0, 1], np.float32)])
    try:
        changed = evaluate()
    finally:
        last.set_weights(before_change)
    assert (changed.confusion_matrix[:, :2] == 0).all() and changed.collapsed
    valid = [(read_index_mask(example.mask) != VOID).sum() for example in examples]
    assert changed.confusion_matrix.sum() == before.confusion_matrix.sum() == sum(valid)
    again: Scores = evaluate()
    np.testing.assert_array_equal(again.confusion_matrix, before.confusion_matrix)
    assert again.loss == before.loss


@pytest.mark.parametrize("flip", [False, True])
def test_a_loss_with_dice_scores_windows(model: keras.Model, examples: list[Example], flip: bool) -> None:
    """Dice needs the number of classes when the graph is built."""
    wanted = config(None, 4)
    wanted.evaluate.window, wanted.evaluate.flip = 16, flip
    loss, image = SegmentationLoss(LOSS, WEIGHTS), examples[0]
    found = Evaluator(BatchScorer(model, loss, wanted), [image], sizes_of([image]), wanted)()
    decoded, mask = decode.decode_image(str(image.image)), read_index_mask(image.mask)
    size = tf.constant(mask.shape)
    logits = predict_logits(model, decode.pad_reflect(decoded, 4), size, size, Views.of(wanted))
    assert found.loss == pytest.approx(float(loss(mask[np.newaxis], logits[tf.newaxis])), rel=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_split_of_only_void_has_no_score(model: keras.Model, examples: list[Example]) -> None:
    scores = evaluator(model, [examples[2]], None, 1)()
    assert scores.confusion_matrix.sum() == 0
    assert np.isnan([scores.loss, scores.mean_iou, scores.pixel_accuracy]).all()
    assert scores.image_iou == {} and not scores.collapsed


@pytest.mark.parametrize("classes", [2, 3, 21, 255])
def test_confusion_matrix_counts_valid_pixels(classes: int) -> None:
    rng = np.random.default_rng(classes)
    mask, prediction = rng.integers(0, classes, (2, 40, 50)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.2] = VOID
    expected = np.zeros((classes, classes), np.int64)
    valid = mask != VOID
    np.add.at(expected, (mask[valid], prediction[valid]), 1)
    found = confusion_matrix(tf.constant(mask), tf.constant(prediction), classes)
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(image_confusion_matrix(mask, prediction, classes), expected)


def test_confusion_matrix_by_hand() -> None:
    """Rows are the truth; 255 counts nowhere, whatever is predicted there."""
    mask, prediction = tf.constant([[0, 0, 1], [1, 255, 255]]), tf.constant([[0, 1, 1], [0, 1, 0]])
    assert confusion_matrix(mask, prediction, 2).numpy().tolist() == [[1, 1], [1, 1]]
    assert confusion_matrix(tf.constant([0, 0, 0]), tf.constant([1, 1, 0]), 2).numpy().tolist() == [[1, 2], [0, 0]]
    assert confusion_matrix(tf.constant([255]), tf.constant([0]), 2).numpy().tolist() == [[0, 0], [0, 0]]
