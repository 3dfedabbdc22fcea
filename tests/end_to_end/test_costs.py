"""What an image, a shape, an epoch and a step cost, counted in a real run: decodings, graphs, MLflow calls, copies.

Unlike times, which the benchmarks measure, these counts are the same on every machine.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.commands import python, tiny

EPOCHS = 4
COUNTING = """
import collections, json, os, sys, tempfile
from pipeline.runtime.hardware import import_tensorflow
tf = import_tensorflow()
import mlflow
import numpy as np
from pipeline.train import epochs
from pipeline.evaluate import evaluator
from pipeline.experiment import run as experiment
from pipeline.config.overrides import checked_config
from pipeline.data import decode

decoded, calls, copies, steps, scorers = collections.Counter(), [], [0], [], []
once = decode.decode_image

def count_decoding(path, *rules):
    def count(path, image):
        decoded[os.fsdecode(path).rpartition("/")[2]] += 1
        return image
    image = once(path, *rules)
    counted = tf.numpy_function(lambda path, image: count(np.asarray(path).item(), image), [path, image], tf.uint8)
    return tf.ensure_shape(counted, image.shape)

decode.decode_image = count_decoding

def count_calls(name, method):
    def counted(*arguments, **named):
        calls.append([len(steps), name])
        return method(*arguments, **named)
    return counted

for name in dir(mlflow.MlflowClient):
    if name.startswith(("log_", "set_", "create_", "update_", "delete_", "search_", "get_", "finalize_")):
        setattr(mlflow.MlflowClient, name, count_calls(name, getattr(mlflow.MlflowClient, name)))

from tensorflow.python.framework.ops import _EagerTensorBase as tensor  # a tensor created here would fix the threads
copy = tensor._numpy  # turns every tensor into a number or an array
def copied(self):
    copies[0] += 1
    return copy(self)
tensor._numpy = copied

step = epochs.EpochCallback.on_train_batch_end
def watched(self, batch, logs):
    step(self, batch, logs)
    steps.append([self.state.epoch, copies[0]])
epochs.EpochCallback.on_train_batch_end = watched

made = evaluator.BatchScorer.__init__
def recorded(self, *arguments, **named):
    made(self, *arguments, **named)
    scorers.append(self)
evaluator.BatchScorer.__init__ = recorded

traces = []
from pipeline.model import losses
def traced(loss):
    def of(self, mask, logits):
        traces.append(logits.shape[1:3].as_list())
        return loss(self, mask, logits)
    return of
losses.SegmentationLoss.score = traced(losses.SegmentationLoss.score)

experiment.run_experiment(checked_config(sys.argv[1:]), [], "")
print(json.dumps({
    "decoded": decoded, "calls": calls, "steps": steps,
    "scoring graphs": [each._score.experimental_get_tracing_count() for each in scorers],
    "shapes of the loss": traces,
    "rewritten": os.listdir(tempfile.gettempdir()),
}))
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory, voc_writer: Callable[..., Path]) -> dict[str, Any]:
    """A run of four epochs of three steps, with two sizes of images in validation and in test."""
    place = tmp_path_factory.mktemp("costs")
    voc_writer(place, train=6, val=4, test=4, size=[(16, 24), (24, 16)], classes=5)
    options = tiny(epochs=str(EPOCHS), batch_size="2", evaluate__val_predictions="1", evaluate__overlays="0")
    (place / "tmp").mkdir()
    # Measured every ten seconds, the machine's load would add calls the longer the run takes.
    rare = {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "3600"}
    done = python("-c", COUNTING, *options, cwd=place, TMPDIR=str(place / "tmp"), **rare)
    assert done.status == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_an_image_is_decoded_once_to_check_and_once_to_use_it(counted: dict[str, Any]) -> None:
    """Training images once for all epochs, validation images once per epoch.

    One of them again as the example of the model, and one as what is shown after every epoch.
    """
    by_split: dict[str, Counter[int]] = {}
    for name, times in counted["decoded"].items():
        by_split.setdefault(name.partition("_")[0], Counter())[times] += 1
    assert by_split["train"] == {2: 6}
    assert by_split["test"] == {2: 4}
    assert by_split["val"] == {1 + EPOCHS: 2, 2 + EPOCHS: 2}


def test_one_graph_for_all_sizes_and_one_for_all_steps(counted: dict[str, Any]) -> None:
    """The loss is traced once for crops of 16 pixels, and once for the images of both splits."""
    assert counted["scoring graphs"] == [1]
    assert counted["shapes of the loss"] == [[16, 16], [None, None]]


def test_autograph_rewrites_nothing(counted: dict[str, Any]) -> None:
    """It leaves a file for each function that it rewrites, and takes longer than tracing."""
    assert [name for name in counted["rewritten"] if "autograph" in name] == []


def test_an_epoch_takes_five_calls_of_mlflow(counted: dict[str, Any]) -> None:
    """Its metrics, the time of tracking, the predicted masks, and two for images, however many of each there are."""
    by_name = Counter(name for _, name in counted["calls"])
    assert by_name["log_metric"] == by_name["log_param"] == by_name["log_image"] == 0
    assert 2 * EPOCHS <= by_name["log_artifacts"] <= 2 * EPOCHS + 8 and by_name["set_tag"] <= EPOCHS + 2
    assert EPOCHS <= by_name["log_batch"] <= 2 * EPOCHS + 12


def test_a_step_copies_one_number_from_the_device(counted: dict[str, Any]) -> None:
    """The loss. Between the steps of an epoch nothing else is waited for."""
    steps = counted["steps"]
    copied = [after - before for (epoch, before), (same, after) in itertools.pairwise(steps) if epoch == same]
    assert len(copied) == 2 * EPOCHS
    assert set(copied) == {1}
