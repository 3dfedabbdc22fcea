"""`python -m pipeline.predict`: masks for any image, by the recorded weights only."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import CLASSES, Ended, Finished, lines, several

ROTATED = 6  # EXIF orientation: rotate by 90 degrees for display


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of image that predict takes, and one that cannot be decoded."""
    folder = tmp_path_factory.mktemp("images")
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8))
    colour.save(folder / "plain.png")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("RGBA").save(folder / "alpha.PNG")
    colour.convert("CMYK").save(folder / "cmyk.jpeg")
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    colour.save(folder / "rotated.jpg", exif=exif)
    (folder / "bro\x1bken.jpg").write_bytes((folder / "cmyk.jpeg").read_bytes()[:500])
    (folder / "notes.txt").write_text("no image")
    (folder / "._plain.png").write_bytes(b"\0\5\x16\7")  # as macOS writes them next to each file
    (folder / "scan.TIF").touch()
    (folder / "more.jpg").mkdir()
    return folder


def labelled(cwd: Path) -> None:
    """The test images with masks, of which one has the classes exchanged, one another size, one a label too many."""
    for folder in ("labelled", "labels"):
        (cwd / folder).mkdir()
    names = [f"test_{number}" for number in range(3)]
    for name in (*names, "size", "label", "none"):
        shutil.copy(cwd / f"VOC/JPEGImages/{name if name in names else 'test_0'}.jpg", cwd / f"labelled/{name}.jpg")
    for name in names:
        shutil.copy(cwd / f"VOC/SegmentationClass/{name}.png", cwd / f"labels/{name}.png")
    mask = np.array(Image.open(cwd / "labels/test_0.png"))
    Image.fromarray(mask[1:]).save(cwd / "labels/size.png")
    Image.fromarray(np.where(mask == 0, 9, mask).astype(np.uint8)).save(cwd / "labels/label.png")


@pytest.fixture(scope="module")
def ended(finished: Finished, images: Path) -> dict[str, Ended]:
    """All commands of this file, one after the other in one process."""
    key, voc = finished.run.data.tags["run_key"], finished.cwd / "VOC/JPEGImages"
    for name in ("own", "one"):
        (finished.cwd / name).mkdir()
    shutil.copy(voc / "test_0.jpg", finished.cwd / "own/a.jpg")
    shutil.copy(images / "plain.png", finished.cwd / "one/b.png")
    run = f"run={finished.id}"
    labelled(finished.cwd)
    commands = {
        "split": [f"run={key}", f"input={voc}", "output=masks", "format=coco"],
        "kinds": [run, f"input={images}", "output=kinds", "dataset.exif=ignore", "format=labelme"],
        "single": [run, "input=own/a.jpg", "output=single/new"],
        "more": [run, "input=own", "output=more", "confidence=true", "probabilities=True"],
        "labelled": [run, "input=labelled", "output=scored", "masks=labels"],
        "own masks": [run, f"input={voc}", "output=own_masks", f"masks={finished.cwd}/VOC/SegmentationClass"],
        "no masks": [run, "input=own", "output=nowhere", "masks=labels"],
        "odd boolean": [run, "input=own", "output=nowhere", "confidence=yes"],
        "twice": [f"run={finished.id},{key}", "input=own", "output=nowhere"],
        "commas": [f"run={finished.id},", "input=own", "output=nowhere"],
        "over": [run, "input=one", "output=one"],
        "unknown run": ["run=0123", "input=own", "output=nowhere"],
        "unknown key": [run, "inptu=own", "output=nowhere"],
        "no input": [run, "input=missing", "output=nowhere"],
        "empty input": [run, "input=mlruns", "output=nowhere"],
        "no database": [run, "input=own", "output=nowhere", "tracking.uri=sqlite:///elsewhere/mlflow.db"],
        "no server": [run, "input=own", "output=nowhere", "tracking.uri=http://ada:secret@127.0.0.1:9"],
        "no address": [run, "input=own", "output=nowhere", "tracking.uri=mlruns"],
        "masks by hand": [run, f"input={voc}", "output=VOC/SegmentationClass"],
        "next to images": [run, "input=own", "output=own"],
        "output is a file": [run, "input=own", "output=own/a.jpg"],
    }
    done = several([["pipeline.predict", *command] for command in commands.values()], finished.cwd)
    return dict(zip(commands, done, strict=True))


def test_masks_of_test_images_are_those_that_the_run_scored(finished: Finished, ended: dict[str, Ended]) -> None:
    assert (ended["split"].status, ended["split"].stderr) == (0, "")
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for number in range(3):
        mask = Image.open(finished.cwd / f"masks/test_{number}.png")
        assert mask.mode == "P"
        prediction = np.array(mask)
        logged = np.array(Image.open(finished.artifact(f"predictions/test/test_{number}.png")))
        np.testing.assert_array_equal(prediction, logged)
        truth = np.array(Image.open(finished.cwd / f"VOC/SegmentationClass/test_{number}.png"))
        np.add.at(counts, (truth[truth != 255], prediction[truth != 255]), 1)
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    mean_iou = (np.diag(counts)[union > 0] / union[union > 0]).mean()
    assert mean_iou == pytest.approx(finished.run.data.metrics["test/mean_iou"], abs=1e-6)


def test_a_folder_gives_a_mask_and_an_overlay_for_each_image(finished: Finished, ended: dict[str, Ended]) -> None:
    names = {path.name for path in (finished.cwd / "masks").iterdir()}
    ids = [f"{split}_{i}" for split, count in (("train", 5), ("val", 2), ("test", 3)) for i in range(count)]
    assert names == {f"{name}{end}.png" for name in ids for end in ("", "_overlay")} | {"doubt.csv", "coco"}
    with (finished.cwd / "masks/doubt.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {f"{name}.jpg" for name in ids}
    entropies = [float(row["mean_entropy_nats"]) for row in rows]
    assert entropies == sorted(entropies, reverse=True) and 0 < entropies[-1] < entropies[0] < np.log(len(CLASSES))
    assert (
        f"most uncertain, by mean entropy in nats: {rows[0]['image']} ({entropies[0]:.3f}), " in ended["split"].stdout
    )
    assert lines(ended["split"].stdout)[-1] == f"10 of 10 images predicted with run {finished.id}"


def test_masks_fit_the_stored_pixels_of_every_kind_of_image(finished: Finished, ended: dict[str, Ended]) -> None:
    masks = {
        path.stem: Image.open(path) for path in (finished.cwd / "kinds").glob("*.png") if "_overlay" not in path.stem
    }
    assert set(masks) == {"plain", "grey", "alpha", "cmyk", "rotated"}
    assert {mask.size for mask in masks.values()} == {(34, 21)}
    # Alpha is dropped, not blended with a background: the same colours give the same mask.
    np.testing.assert_array_equal(np.array(masks["alpha"]), np.array(masks["plain"]))
    rotated = [line for line in ended["kinds"].stdout.splitlines() if "EXIF" in line]
    assert len(rotated) == 1 and "rotated.jpg" in rotated[0] and "EXIF orientation ignored" in rotated[0]


def test_files_of_tools_have_the_outlines(finished: Finished, ended: dict[str, Ended]) -> None:
    folder = finished.cwd / "masks/coco"
    with (finished.cwd / "masks/doubt.csv").open(encoding="utf-8") as file:
        most_uncertain_first = [row["image"] for row in csv.DictReader(file)]
    content = json.loads((folder / "annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == most_uncertain_first
    assert {path.name for path in (folder / "images").iterdir()} == set(most_uncertain_first)
    assert f"10 images and {len(content['annotations'])} outlines for coco in masks/coco" in ended["split"].stdout
    names = {path.name for path in (finished.cwd / "kinds/labelme").glob("*.json")}
    assert names == {"plain.json", "grey.json", "alpha.json", "cmyk.json", "rotated.json"}
    rotated = json.loads((finished.cwd / "kinds/labelme/rotated.json").read_text())
    assert (rotated["imageWidth"], rotated["imageHeight"]) == (21, 34)  # as viewers display it


def test_a_broken_image_is_reported_and_the_others_predicted(images: Path, ended: dict[str, Ended]) -> None:
    kinds = ended["kinds"]
    assert kinds.status == 1
    (fault,) = lines(kinds.stderr)
    assert fault.startswith(f"error: {images}/bro\\x1bken.jpg: cannot be decoded: ")
    assert "5 of 6 images predicted" in kinds.stdout and "notes.txt" not in kinds.stdout
    assert lines(kinds.stdout)[-1] == f"not looked at in {images}: 1 hidden, 1 .txt, 1 .tif and 1 folder"


def test_a_single_image_with_a_new_output_folder(finished: Finished, ended: dict[str, Ended]) -> None:
    assert ended["single"].status == 0
    assert {path.name for path in (finished.cwd / "single/new").iterdir()} == {"a.png", "a_overlay.png"}


def test_confidences_and_probabilities_are_those_of_the_mask(finished: Finished, ended: dict[str, Ended]) -> None:
    assert (ended["more"].status, ended["more"].stderr) == (0, "")
    mask = np.array(Image.open(finished.cwd / "more/a.png"))
    np.testing.assert_array_equal(mask, np.array(Image.open(finished.cwd / "single/new/a.png")))
    with np.load(finished.cwd / "more/a_probabilities.npz", allow_pickle=False) as stored:
        probabilities, names = stored["probabilities"], stored["classes"]
    assert names.tolist() == CLASSES and probabilities.dtype == np.float16
    assert probabilities.shape == (*mask.shape, len(CLASSES))
    np.testing.assert_allclose(probabilities.sum(axis=-1, dtype=np.float32), 1, atol=2e-3)
    chosen = np.take_along_axis(probabilities, mask[..., np.newaxis].astype(int), axis=-1)[..., 0]
    np.testing.assert_array_equal(chosen, probabilities.max(axis=-1))  # rounding keeps the order, but for ties
    confidence = Image.open(finished.cwd / "more/a_confidence.png")
    assert confidence.mode == "L"
    np.testing.assert_allclose(np.array(confidence), 255 * chosen.astype(float), atol=0.6)


def test_given_masks_are_scored_as_the_split_was(finished: Finished, ended: dict[str, Ended]) -> None:
    """The images with a faulty mask or without one are predicted nevertheless."""
    done = ended["labelled"]
    assert done.status == 1 and "6 of 6 images predicted" in done.stdout
    faults = lines(done.stderr)
    assert len(faults) == 2
    assert any("labels/label.png: holds label 9; 0 to 4 (5 dataset.classes)" in fault for fault in faults)
    assert any("labels/size.png: is " in fault and "but its image" in fault for fault in faults)
    logged = finished.artifact("evaluation/per_class.csv").read_bytes()
    assert (finished.cwd / "scored/evaluation/per_class.csv").read_bytes() == logged
    assert f"{finished.run.data.metrics['test/mean_iou']:.4f}" in done.stdout
    assert "3 of 6 images have no mask to score them against" in done.stdout
    with (finished.cwd / "scored/labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    confidences = [float(row["self_confidence"]) for row in rows]
    assert confidences == sorted(confidences) and len(rows) == 3
    overlays = sorted(path.name for path in (finished.cwd / "scored/suspicious").iterdir())
    assert overlays == [f"{place:03d}_{Path(row['image']).stem}.png" for place, row in enumerate(rows, start=1)]
    assert f"most suspicious masks: {rows[0]['image']} (self-confidence " in done.stdout
    assert "training images of the run" not in done.stdout


def test_masks_of_training_images_come_with_a_warning(ended: dict[str, Ended]) -> None:
    assert ended["own masks"].status == 0
    assert "warning: 5 of these images are training images of the run" in ended["own masks"].stdout


def test_no_result_overwrites_an_image(finished: Finished, images: Path, ended: dict[str, Ended]) -> None:
    assert ended["over"].status == 2 and "would overwrite the image b.png" in ended["over"].stderr
    assert (finished.cwd / "one/b.png").read_bytes() == (images / "plain.png").read_bytes()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("unknown run", "run=0123: no run has this id or run_key at tracking.uri=sqlite:///"),
        ("unknown key", "inptu=own: unknown key 'inptu' (did you mean 'input'?)"),
        ("no input", "input=missing: not found; an image or a folder expected"),
        ("empty input", "input=mlruns: has no .jpg, .jpeg, .png file, but "),
        ("no database", "this database does not exist; start in the folder that contains mlruns/"),
        ("no server", "tracking.uri=http://***@127.0.0.1:9: does not answer: Connection refused"),
        ("no address", "tracking.uri=mlruns: http://, https://, sqlite:///"),
        ("masks by hand", "which is no earlier prediction, since"),
        ("next to images", "output=own: is the folder of the images"),
        ("no masks", "masks=labels: has no mask of any image; a.png expected for a.jpg"),
        ("odd boolean", "confidence=yes: true or false expected"),
        ("twice", " twice; each run once expected"),
        ("commas", ",: run ids with one comma between them expected"),
        ("output is a file", "output=own/a.jpg: cannot create this folder"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    finished: Finished, ended: dict[str, Ended], command: str, message: str
) -> None:
    assert ended[command].status == 2
    faults = lines(ended[command].stderr)
    assert all(fault.startswith("error: ") for fault in faults) and message in faults[0]
    assert not (finished.cwd / "nowhere").exists() and not (finished.cwd / "elsewhere").exists()
