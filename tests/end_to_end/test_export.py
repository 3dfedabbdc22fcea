"""`python -m pipeline.export`: a stored run as a file of each format, scored by its own runtime."""

import re
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import Ended, Finished, lines, several

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("ai_edge_litert", reason="needs the extra litert")


@pytest.fixture(scope="module")
def ended(finished: Finished) -> dict[str, Ended]:
    """All commands of this file, one after the other in one process."""
    run, onnx = f"run={finished.id}", "format=onnx"
    (finished.cwd / "taken.onnx").touch()
    for name in ("moved-VOC", "other-VOC"):
        shutil.copytree(finished.cwd / "VOC", finished.cwd / name)
    mask = finished.cwd / "other-VOC/SegmentationClass/test_0.png"
    Image.fromarray(np.rot90(np.array(Image.open(mask)), 2)).save(mask)
    commands = {
        "onnx": [run, onnx, "output=new/a.onnx"],
        "int8": [run, "format=litert", "output=a.tflite", "quantize=int8"],
        "saved_model": [run, "format=saved_model", "output=a", "evaluate.flip=true"],
        "moved": [
            f"run={finished.run.data.tags['run_key']}",
            onnx,
            "output=int8.onnx",
            "quantize=int8",
            "dataset.root=moved-VOC",
            "evaluate.batch_size=1",
        ],
        "other": [run, onnx, "output=other.onnx", "dataset.root=other-VOC"],
        "faults": [run, onnx, "output=taken.onnx", "quantize=int4", "model.depth=3"],
        "format": [run, "format=onx", "output=b"],
        "no quantised": [run, "format=saved_model", "output=b", "quantize=int8"],
        "no data": [run, onnx, "output=b", "dataset.root=nowhere"],
        "unknown run": ["run=nothing", onnx, "output=b"],
    }
    done = several([["pipeline.export", *command] for command in commands.values()], finished.cwd)
    return dict(zip(commands, done, strict=True))


def scores_of(done: Ended) -> list[str]:
    """The mean IoUs of the table: of the file, then of the run's network."""
    assert done.status == 0, done.stderr
    return re.findall(r"^the .*? (\d\.\d{4}) ", done.stdout, re.MULTILINE)


def test_files_have_the_runs_score(ended: dict[str, Ended], finished: Finished) -> None:
    assert scores_of(ended["onnx"]) == [f"{finished.run.data.metrics['test/mean_iou']:.4f}"] * 2
    own, same = scores_of(ended["saved_model"])
    assert own == same
    assert " 0 of " in ended["saved_model"].stdout
    assert len(scores_of(ended["int8"])) == 2


def test_scores_are_logged_next_to_the_runs_own(ended: dict[str, Ended], finished: Finished) -> None:
    """Wherever the run's data are now; but not where the data or the views are others."""
    assert [ended[name].status for name in ("int8", "moved", "other")] == [0, 0, 0]
    metrics = finished.client.get_run(finished.id).data.metrics
    assert {name for name in metrics if name.startswith("export/")} == {
        f"export/{name}/{metric}"
        for name in ("onnx", "onnx_int8", "litert_int8")
        for metric in ("mean_iou", "differing_pixels")
    }
    assert metrics["export/onnx/mean_iou"] == pytest.approx(metrics["test/mean_iou"], abs=1e-3)
    (logged,) = finished.client.get_metric_history(finished.id, "export/onnx/mean_iou")
    assert isinstance(logged, mlflow.entities.Metric) and logged.step == metrics["best/epoch"]
    assert "not logged" in ended["saved_model"].stdout and "not logged" in ended["other"].stdout


def test_only_whole_files_are_left(ended: dict[str, Ended], finished: Finished) -> None:
    assert [path.name for path in (finished.cwd / "new").iterdir()] == ["a.onnx"]
    assert {path.name for path in finished.cwd.glob("*a*") if "tflite" in path.name} == {"a.tflite"}
    assert (finished.cwd / "a/assets.extra/metadata.json").is_file()
    assert (finished.cwd / "taken.onnx").read_bytes() == b""
    assert not [path for path in finished.cwd.iterdir() if path.name in ("b", "b.onnx") or path.name.startswith(".")]


def test_mistakes_are_named_in_one_line_each(ended: dict[str, Ended]) -> None:
    expected = {
        "faults": ["model.depth=3: a stored run", "quantize=int4: int8 expected", "output=taken.onnx: exists"],
        "format": ["format=onx: onnx, litert or saved_model expected (did you mean 'onnx'?)"],
        "no quantised": ["quantize=int8: format=onnx or format=litert expected"],
        "no data": ["dataset.root=nowhere"],
        "unknown run": ["run=nothing: no run has this id"],
    }
    for name, beginnings in expected.items():
        assert ended[name].status == 2, name
        found = lines(ended[name].stderr)
        assert len(found) == len(beginnings), found
        for line, beginning in zip(found, beginnings, strict=True):
            assert line.startswith(f"error: {beginning}"), line


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before TensorFlow is imported, or the run is looked for."""
    from pipeline.export import __main__ as command
    from pipeline.runtime.errors import UserError

    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"format=litert: needs the extra litert: pip install .*\.\[litert\]"):
        command.main(["run=any", "format=litert", f"output={tmp_path / 'a'}"])
