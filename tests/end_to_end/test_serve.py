"""A registered model: in the commands that take a run, and behind MLflow's own scoring server."""

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
from PIL import Image

from pipeline.data.image_files import MAX_PIXELS
from pipeline.experiment.initial_weights import requested_weights
from pipeline.experiment.rerun import find_original
from pipeline.experiment.resume import find_resumable
from tests.end_to_end.commands import Ended, Finished, environment, lines, several

NAME = "models:/streets@production"
TESTS = [f"test_{number}" for number in range(3)]


@pytest.fixture(scope="module")
def place(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder of the finished run, whose registry nobody else sees."""
    return Path(shutil.copytree(finished.cwd, tmp_path_factory.mktemp("registered") / "copy", symlinks=True))


@pytest.fixture(scope="module")
def ended(place: Path, finished: Finished) -> dict[str, Ended]:
    """All commands of this file, one after the other in one process."""
    register = "pipeline.register"
    commands = {
        "once": [register, f"run={finished.id}", "name=streets", "alias=production"],
        "twice": [register, f"run={finished.run.data.tags['run_key']}", "name=streets", "alias=other"],
        "by alias": [register, "run=models:/streets@other", "name=streets"],
        "predict": ["pipeline.predict", f"run={NAME}", "input=VOC/JPEGImages/test_0.jpg", "output=masks"],
        "evaluate": ["pipeline.evaluate", "run=models:/streets/1"],
        "no alias": ["pipeline.evaluate", "run=models:/streets@produktion"],
        "no sweep": [register, f"sweep={finished.id}", "name=streets"],
        "nothing": [register, "name=streets"],
        "both": [register, "run=a", "sweep=b", "name=streets"],
        "bad name": [register, "run=a", "name=a/b", "alias=v1"],
    }
    return dict(zip(commands, several(list(commands.values()), place), strict=True))


def test_a_run_is_registered_once_with_its_aliases(finished: Finished, ended: dict[str, Ended]) -> None:
    for command, new, address in (
        ("once", "", NAME),
        ("twice", ", which it was already: no new version", "models:/streets@other"),
        ("by alias", ", which it was already: no new version", "models:/streets/1"),
    ):
        reported = [
            line for line in lines(ended[command].stderr) if not line.startswith("note: ")
        ]  # of the copied store
        assert (ended[command].status, reported) == (0, [])
        first, *_, last = lines(ended[command].stdout)
        assert re.fullmatch(rf"run {finished.id}, val mIoU 0\.\d{{4}}: version 1 of 'streets'{new}", first)
        assert last == f"run={address}"


def test_a_registered_model_predicts_and_scores_as_its_run(
    place: Path, finished: Finished, ended: dict[str, Ended]
) -> None:
    assert (ended["predict"].status, ended["evaluate"].status) == (0, 0), ended
    np.testing.assert_array_equal(read(place / "masks/test_0.png"), scored(finished, "test_0"))
    assert f"run {finished.id} on 3 test images" in ended["evaluate"].stdout
    assert f"{finished.run.data.metrics['test/mean_iou']:.4f}" in ended["evaluate"].stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "no alias",
            "run=models:/streets@produktion: 'streets' has no alias 'produktion' (did you mean 'production'?)",
        ),
        ("no sweep", "is no sweep, or one without a trial; run="),
        ("nothing", "run=<id>, or sweep=<id> for its best trial: one of them expected"),
        ("both", "run=<id>, or sweep=<id> for its best trial: one of them expected"),
        ("bad name", "name=a/b: a name without /, : and @ expected"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(ended: dict[str, Ended], command: str, message: str) -> None:
    assert ended[command].status == 2
    faults = lines(ended[command].stderr)
    assert all(fault.startswith("error: ") for fault in faults) and message in faults[0]


def test_it_is_repeated_continued_and_started_from(
    place: Path, finished: Finished, ended: dict[str, Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    original = find_original(NAME, None)
    assert (original.run_id, original.weights_sha256) == (finished.id, finished.run.data.tags["weights_sha256"])
    assert find_resumable(NAME, None).name == finished.id
    config = original.config
    config.init_from = NAME
    initial = requested_weights(config)
    assert initial is not None and initial.sha256 == original.weights_sha256
    assert initial.note == f"init_from={NAME}: is run {finished.id}"


# ---- behind MLflow's server


@dataclass
class Answer:
    status: int
    text: str

    @property
    def predictions(self) -> list[np.ndarray]:
        assert self.status == 200, self.text
        return [np.array(found) for found in json.loads(self.text)["predictions"]]


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def serving(place: Path, ended: dict[str, Ended]) -> Iterator[tuple[Ask, psutil.Process]]:
    """`mlflow models serve` of the registered model: a function that asks it, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", NAME, "--env-manager", "local"]
    # MLflow starts uvicorn by its name, as in an activated environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlruns/mlflow.db", "PATH": path}
    log = place / "serve.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=place.parent, env=environment(**settings), stdout=written, stderr=written, start_new_session=True,
        )  # fmt: skip

    def ask(body: Any, kind: str = "application/json") -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{port}/invocations", content, {"Content-Type": kind})
        try:
            with urlopen(request, timeout=120) as found:
                return Answer(found.status, found.read().decode())
        except HTTPError as error:
            return Answer(error.code, error.read().decode())

    try:
        until = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        yield ask, max(family, key=lambda member: member.memory_info().rss)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # a session of its own
        process.wait()


def answers(port: int) -> bool:
    try:
        urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
    except OSError:
        return False
    return True


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def scored(finished: Finished, name: str) -> np.ndarray:
    return read(finished.artifact(f"predictions/test/{name}.png"))


def text_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_every_form_of_request_has_the_masks_that_were_scored(
    finished: Finished, place: Path, serving: tuple[Ask, psutil.Process]
) -> None:
    ask, _ = serving
    files = [place / f"VOC/JPEGImages/{name}.jpg" for name in TESTS]
    texts, arrays = [text_of(file.read_bytes()) for file in files], [read(file).tolist() for file in files]
    for body in (
        {"inputs": texts},
        {"instances": texts},
        {"instances": [{"image": text} for text in texts]},
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        {"inputs": arrays},
        {"inputs": [texts[0], arrays[1], texts[2]]},
    ):
        for mask, name in zip(ask(body).predictions, TESTS, strict=True):
            np.testing.assert_array_equal(mask, scored(finished, name))
    for key in ("inputs", "instances"):
        (mask,) = ask({key: arrays[:1]}).predictions
        np.testing.assert_array_equal(mask, scored(finished, TESTS[0]))


def test_probabilities_and_a_smaller_result(
    finished: Finished, place: Path, serving: tuple[Ask, psutil.Process]
) -> None:
    ask, _ = serving
    text = text_of((place / "VOC/JPEGImages/test_0.jpg").read_bytes())
    (shares,) = ask({"inputs": [text], "params": {"probabilities": True}}).predictions
    mask = scored(finished, TESTS[0])
    assert shares.shape == (*mask.shape, 5)
    np.testing.assert_array_equal(shares.argmax(-1), mask)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)
    (half,) = ask({"inputs": [text], "params": {"scale": 0.5}}).predictions
    assert half.shape == (mask.shape[0] // 2, mask.shape[1] // 2)


def test_a_wrong_request_is_a_400_with_one_line(place: Path, serving: tuple[Ask, psutil.Process]) -> None:
    ask, _ = serving
    file = (place / "VOC/JPEGImages/test_0.jpg").read_bytes()
    pixels = read(place / "VOC/JPEGImages/test_0.jpg")
    side = int(MAX_PIXELS**0.5) + 1
    refused = {
        "image 0: values of type float64; whole numbers": {"inputs": [(pixels / 255).tolist()]},
        "image 0: values from 200 to ": {"inputs": [(pixels.astype(int) + 200).tolist()]},
        "image 0: shape (24, 32, 1); (height, width, 3) expected": {"inputs": [pixels[..., :1].tolist()]},
        "image 0: is not base64": {"inputs": ["photo.jpg"]},
        "image 1: cannot be decoded: ": {"inputs": [text_of(file), text_of(file[:-200])]},
        "image 0: is not a JPEG or PNG file": {"instances": [text_of(b"GIF89a")]},
        f"image 0: cannot be decoded: {side}x{side} pixels are": {
            "inputs": [text_of(png(Image.new("1", (side, side))))]
        },
        "params: unknown 'probs' (did you mean 'probabilities'?)": {"inputs": [text_of(file)], "params": {"probs": 1}},
        "scale=2: a number above 0 and at most 1 expected": {"inputs": [text_of(file)], "params": {"scale": 2}},
        "at least one image expected, in a list": {"inputs": []},
    }
    for start, body in refused.items():
        answer = ask(body)
        assert answer.status == 400, (start, answer)
        found = json.loads(answer.text)
        assert set(found) == {"error_code", "message"}
        assert found["message"].startswith(start) and "\n" not in found["message"], found["message"]
    # These MLflow refuses by itself, before the model is asked.
    for body in ({"inputs": [text_of(file)], "params": {"scale": "big"}}, {"images": []}, b"{"):
        answer = ask(body)
        assert answer.status == 400 and "Traceback" not in answer.text, answer
    assert ask(file, "image/jpeg").status == 415


@pytest.mark.parametrize("requests", [32, pytest.param(200, marks=pytest.mark.slow)])
def test_no_request_of_eight_clients_is_lost(
    finished: Finished, place: Path, serving: tuple[Ask, psutil.Process], requests: int
) -> None:
    ask, process = serving
    texts = [text_of((place / f"VOC/JPEGImages/{name}.jpg").read_bytes()) for name in TESTS]
    expected = [scored(finished, name) for name in TESTS]

    def right(number: int) -> bool:
        (mask,) = ask({"inputs": [texts[number % 3]]}).predictions
        return np.array_equal(mask, expected[number % 3])

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(right, range(requests)))
        before = process.memory_info().rss
        assert all(clients.map(right, range(requests)))
    assert process.memory_info().rss < before + 64 * 2**20
