"""The command on a sweep in a store: what it prints, writes, and stores in MLflow."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.compare.__main__ import main
from pipeline.compare.analysis import Analysis
from pipeline.compare.build import write
from pipeline.compare.runs import ComparedRun
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
from pipeline.tracking import run_groups as tracking
from pipeline.tracking.run_groups import NOTE
from tests.compare.store import HOSTILE, Sweep, artifacts, client_of, inside, make_run


def page_data(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


# ---- what it prints


def test_the_table_ranks_finished_runs_by_validation(sweep: Sweep) -> None:
    lines = sweep.stdout.splitlines()
    assert lines[0].split() == ["run", "width", "seed", "status", "val", "mIoU", "test", "mIoU", "minutes"]
    best, second, third, fourth, pruned, failed = sweep.ids[0], *(sweep.ids[place] for place in (1, 3, 2, 5, 4))
    assert lines[1].split() == ["*", best, "8", "0", "finished", "0.9000", "0.8000", "1.5"]
    ranked = [(line.split()[0], line.split()[3]) for line in lines[2:7]]
    assert ranked == [(second, "finished"), (third, "finished"), (fourth, "finished"), (failed, "failed"),
                      (pruned, "pruned")]  # fmt: skip


def test_the_findings_follow_the_table(sweep: Sweep) -> None:
    assert re.search(r"^8\s+2  0\.8500 ± 0\.0707  0\.7500 ± 0\.0707$", sweep.stdout, re.MULTILINE)
    assert re.search(r"^4\s+2  0\.6000 ± 0\.1414  0\.5000 ± 0\.1414$", sweep.stdout, re.MULTILINE)
    difference = re.search(r"^width 8, seed 1 +(-0\.\d{4}) +(-0\.\d{4}) +(-?\+?0\.\d{4})$", sweep.stdout, re.MULTILINE)
    assert difference is not None and float(difference[2]) <= float(difference[1]) <= float(difference[3])
    assert "on 4 images, 95 % bootstrap interval" in sweep.stdout
    assert re.search(r"importance for the validation score \(fANOVA\): width \d+ %, seed \d+ %", sweep.stdout)
    assert f"best run {sweep.ids[0]} (width 8, seed 0): val mIoU 0.9000" in sweep.stdout
    assert f"\nrun it again: python run.py rerun={sweep.ids[0]}\n" in sweep.stdout
    assert f"open it: {sweep.page}" in sweep.stdout


def test_csv_is_the_whole_table_and_nothing_else(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"tracking.uri=sqlite:///{sweep.place}/mlruns/mlflow.db"
    assert main([sweep.parent, "--csv", uri]) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run_id"] for row in rows] == [sweep.ids[place] for place in (0, 1, 3, 2, 4, 5)]
    first = rows[0]
    assert first["name"] == f"run {HOSTILE}" and first["model.width"] == "8" and first["pruned"] == "false"
    assert [float(first[key]) for key in ("best_val_mean_iou", "test_mean_iou", "minutes")] == [0.9, 0.8, 1.5]
    assert (rows[4]["status"], rows[4]["test_mean_iou"]) == ("FAILED", "")
    assert [float(first[key]) for key in ("test_mean_dice", "test_pixel_accuracy")] == pytest.approx([0.85, 0.95])
    assert list(tmp_path.iterdir()) == []
    assert text == (sweep.place / "comparison/runs.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "the id of a sweep's run, ids of several runs, or the name of an experiment expected"),
        (["x", "ouput=y"], "ouput=y: unknown key 'ouput' \\(did you mean 'output'\\?\\)"),
        (["x", "register=yes"], "register=yes: true or false expected"),
        (["x", "--csv", "output=y"], "--csv only prints the table; remove output"),
        (["x", "--fast"], "--fast: key=value expected"),
        (["nothing-here"], "nothing-here: no run has this id or run_key .*, and no experiment has this name"),
        (["nothing-here", "nor-here"], "run=nothing-here: no run has this id"),
    ],
)
def test_unusable_arguments_are_reported(sweep: Sweep, arguments: list[str], fault: str) -> None:
    with inside(sweep.place), pytest.raises(UserError, match=fault):
        main(arguments)


def test_a_child_run_alone_cannot_be_compared(sweep: Sweep) -> None:
    with inside(sweep.place), pytest.raises(UserError, match="this run has no child runs; name a sweep's run"):
        main([sweep.ids[0]])


def test_a_sweep_whose_trials_cannot_be_read_says_why(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_usable", lambda *_: ([], ["run=x: was made by another version"]))
    with inside(sweep.place), pytest.raises(UserError, match="none of its child runs can be read") as raised:
        main([sweep.parent])
    assert raised.value.faults[1:] == ("run=x: was made by another version",)


def test_csv_on_a_terminal_has_control_characters_escaped(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a file they stay as they are."""
    monkeypatch.setattr("pipeline.compare.build.table", lambda *_: "run_id,name\n1,\x1b[2J\n")
    for terminal, printed in ((True, "run_id,name\n1,\\x1b[2J\n"), (False, "run_id,name\n1,\x1b[2J\n")):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        with inside(sweep.place):
            assert main([sweep.parent, "--csv"]) == 0
        assert capsys.readouterr().out == printed


# ---- what it writes


def test_every_file_is_written_and_no_image_is_blank(sweep: Sweep) -> None:
    folder = sweep.place / "comparison"
    images = {"curves.png", "parallel_coordinates.png", "per_class.png", "images.png"}
    assert {path.name for path in folder.iterdir()} == {"comparison.html", "runs.csv", *images}
    for name in images:
        with Image.open(folder / name) as image:
            image.load()
            assert len(image.convert("RGB").getcolors(2**24) or []) > 8


def test_images_are_sorted_by_gap_with_the_masks_of_every_run(sweep: Sweep) -> None:
    data = page_data(sweep.page)
    assert [run["id"] for run in data["runs"]] == [sweep.ids[place] for place in (0, 1, 3, 2, 4, 5)]
    assert [run["column"] for run in data["runs"]] == [0, 1, 2, 3, None, 4]  # the failed one has no column
    gaps = []
    for image in data["test"]:
        means = [ious[0] for ious in image["ious"]["0"] if ious[0] is not None]
        gaps.append(max(means) - min(means))
        assert [mask is None for mask in image["masks"]["0"]] == [False] * 4 + [True]  # the pruned one has none
    assert len(gaps) == 4 and gaps == sorted(gaps, reverse=True) and gaps[0] > gaps[-1]
    assert data["epochs"] == [1, 2, 3] and {image["id"] for image in data["val"]} == {"val_0", "val_1"}
    assert data["differences"]["images"] == 4 and data["differences"]["runs"] == [0, 1, 2, 3]
    assert data["differences"]["difference"][0][0] == 0 and data["differences"]["difference"][3][0] < 0


def test_without_the_dataset_the_page_has_only_predictions(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = sweep.root.rename(sweep.place / "moved")
    try:
        with inside(sweep.place):
            assert main([*sweep.ids[:2], f"output={tmp_path / 'without'}"]) == 0
            assert main([*sweep.ids[:2], f"output={tmp_path / 'with'}", f"data_root={moved}"]) == 0
            with pytest.raises(UserError, match="missing JPEGImages/"):
                main([*sweep.ids[:2], f"output={tmp_path / 'never'}", f"data_root={tmp_path}"])
    finally:
        moved.rename(sweep.root)
    assert "give its folder with data_root=<folder>" in capsys.readouterr().out
    without, found = page_data(tmp_path / "without/comparison.html"), page_data(tmp_path / "with/comparison.html")
    assert all(image["photograph"] is None and image["truth"] is None for image in without["test"])
    assert without["test"][0]["disagreement"] > without["test"][-1]["disagreement"] and without["differences"] is None
    assert any(image["disagreement"] > 0 for image in without["val"])
    assert all(image["photograph"] and image["truth"] for image in found["test"])
    assert not (tmp_path / "never").exists()


def test_unreadable_masks_and_unsafe_names_are_left_out(sweep: Sweep, tmp_path: Path) -> None:
    ids = [make_run(sweep.place, "odd", sweep.root, score, seed=seed) for score, seed in ((0.5, 0), (0.4, 1))]
    folder = artifacts(sweep.place, ids[0]) / "predictions/test"
    good = (folder / "test_0.png").read_bytes()
    (folder / "test_1.png").write_bytes(b"no image")
    Image.new("RGB", (32, 24)).save(folder / "test_2.png")
    (folder / "no\nname.png").write_bytes(good)
    (folder / "elsewhere.png").symlink_to(sweep.page)
    with inside(sweep.place):
        main(["odd", f"output={tmp_path}"])
    data = page_data(tmp_path / "comparison.html")
    assert {image["id"] for image in data["test"]} == {"test_0", "test_3"}
    assert "2 test images are left out: their masks cannot be read or do not fit." in data["notes"]


def test_pngs_of_an_earlier_comparison_are_removed_and_nothing_else(tmp_path: Path) -> None:
    """A chart that this comparison does not have would look like one of its own."""
    curve = {"val/mean_iou": {1: 0.5, 2: 0.6}}
    drawn, plain = (ComparedRun("1", "one", "FINISHED", {}, {}, curves=curves) for curves in (curve, {}))
    analyses = [Analysis("t", [run], ["one"], [], None, "", [], {}) for run in (drawn, plain)]
    (tmp_path / "curves.png").write_bytes(b"the user's")
    write(analyses[1], tmp_path)  # without an earlier comparison, the folder has nothing of its files
    assert (tmp_path / "curves.png").read_bytes() == b"the user's"
    assert [path.name for path in write(analyses[0], tmp_path)] == ["comparison.html", "runs.csv", "curves.png"]
    (tmp_path / "mine.png").write_bytes(b"x")
    (tmp_path / "images.png").mkdir()
    assert [path.name for path in write(analyses[1], tmp_path)] == ["comparison.html", "runs.csv"]
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.html", "runs.csv", "mine.png", "images.png"}


def test_a_run_on_other_test_images_does_not_take_them_from_the_others(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where two runs have images in common with the best one, but not with each other: the better one decides."""
    tested = [{0, 1, 2, 3}, set(), {7}, {1, 2}, {0, 3}, {2, 3}]  # the numbers of the test images, by rank
    ids = [
        make_run(sweep.place, "disjoint", sweep.root, 0.9 - rank / 10, seed=rank, wrong_rows=rank) for rank in range(6)
    ]
    for run_id, numbers in zip(ids, tested, strict=True):
        folder = artifacts(sweep.place, run_id) / "predictions/test"
        if 7 in numbers:
            (folder / "test_0.png").rename(folder / "test_7.png")
        for number in range(4):
            if number not in numbers:
                (folder / f"test_{number}.png").unlink(missing_ok=True)
    with inside(sweep.place):
        main(["disjoint", f"output={tmp_path}"])
    data = page_data(tmp_path / "comparison.html")
    assert [run["id"] for run in data["runs"]] == ids and [run["column"] for run in data["runs"]] == list(range(6))
    (image,) = data["test"]
    assert image["id"] == "test_2" and [mask is not None for mask in image["masks"]["0"]] == [1, 0, 0, 1, 0, 1]
    assert data["differences"]["images"] == 1 and data["differences"]["runs"] == [0, 3, 5]
    # One image is left, of which there is no interval.
    assert data["differences"]["difference"][1][0] < 0
    assert data["differences"]["low"] == data["differences"]["high"] == [[None] * 4] * 3
    printed = capsys.readouterr().out
    assert "test mIoU minus that of the best run, on 1 image, which has no interval\n" in printed
    assert re.search(r"^seed 3 +-0\.\d{4} +- +-$", printed, re.MULTILINE)
    assert [note for note in data["notes"] if "test images" in note] == [
        "Test images and differences are without 2 of 5 runs: none of their test images is one that the better runs "
        "have in common."
    ]


# ---- what it stores in MLflow


def test_the_parent_gets_the_files_and_the_best_child_the_tag(sweep: Sweep) -> None:
    client = client_of(sweep.place)
    stored = {entry.path for entry in client.list_artifacts(sweep.parent, "comparison")}
    assert stored == {f"comparison/{path.name}" for path in (sweep.place / "comparison").iterdir()}
    tagged = [run_id for run_id in sweep.ids if "best" in client.get_run(run_id).data.tags]
    assert tagged == [sweep.ids[0]]
    note = client.get_run(sweep.parent).data.tags[NOTE]
    experiment = client.get_run(sweep.parent).info.experiment_id
    assert note.startswith("What was asked.\n")
    assert f"[width 8, seed 0](#/experiments/{experiment}/runs/{sweep.ids[0]})" in note
    assert f"    python run.py rerun={sweep.ids[0]}\n" in note
    with inside(sweep.place):
        main([sweep.parent])  # a second time
    assert client.get_run(sweep.parent).data.tags[NOTE] == note


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    """Nor, before the arguments are checked, anything else that takes long to import."""
    code = (
        "import sys; from pipeline.compare.__main__ import main; "
        "assert not {'mlflow', 'optuna', 'plotly'} & set(sys.modules); "
        "import pipeline.compare.build; assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
