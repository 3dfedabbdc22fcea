"""`debug=one_step`, `debug=overfit` and `dataset.limit`, on a folder."""

from pathlib import Path

from tests.end_to_end.commands import RUN, history, lines, python, stored_runs, tiny

# What the overlays set is not typed, since that would override them.
OPTIONS = [option for option in tiny() if not option.startswith(("epochs=", "batch_size="))]


def test_one_step_does_all_that_a_run_does(workplace: Path) -> None:
    ended = python(RUN, *OPTIONS, "debug=one_step", cwd=workplace)
    assert ended.status == 0, ended.stderr
    client, (run,) = stored_runs(workplace)
    assert run.info.status == "FINISHED" and run.outputs.model_outputs
    assert [step for step, _ in history(client, run)["train/loss"]] == [1]
    printed = lines(ended.stdout)
    assert any(line.startswith("data      folder: 1 train, 1 val, 1 test images") for line in printed)
    assert any(line.startswith("takes     ") and line.endswith(" GB of memory, 1 step") for line in printed)


def test_a_step_that_float16_skips_is_one_step(workplace: Path) -> None:
    """Keras skips steps with infinite gradients, so no update has a learning rate yet."""
    overflows = ("precision=mixed_float16", "model.norm=none", "loss.cross_entropy=1e5")
    ended = python(RUN, *OPTIONS, "debug=one_step", *overflows, cwd=workplace)
    assert ended.status == 0, ended.stderr
    client, (run,) = stored_runs(workplace)
    assert history(client, run)["learning_rate"] == [(1, run.data.metrics["learning_rate"])]
    assert run.data.metrics["learning_rate"] > 0


def test_images_that_are_not_learnt_have_likely_causes(workplace: Path) -> None:
    limit = ("dataset.limit=4", "epochs=2", "optimizer.learning_rate=1e-9", "dataset.splits.test=null")
    ended = python(RUN, *OPTIONS, "debug=overfit", *limit, cwd=workplace)
    _, (run,) = stored_runs(workplace)
    assert ended.status == 1 and run.info.status == "FINISHED"
    assert "instead of 0.95 on 4 images after 2 epochs: something is wrong" in lines(ended.stderr)[-1]
    causes = [line for line in lines(ended.stdout) if line.startswith("cause?")]
    assert any("the loss has hardly fallen" in cause and "learning_rate=1e-09" in cause for cause in causes)
    digests = {given.dataset.name: given.dataset.digest for given in run.inputs.dataset_inputs}
    assert digests["folder-train"] and set(digests) == {"folder-train", "folder-val"}
    assert "test/mean_iou" not in run.data.metrics
