"""EXIF orientations and 16 bits a channel through the commands: refused by name, or the scores of the upright files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.oriented import as_stored, png_of_16_bits, save_oriented
from tests.end_to_end.commands import Ended, Finished, lines, several

NAMES = [f"{suffix}_{orientation}" for suffix in ("jpg", "png") for orientation in range(1, 9)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen images in all orientations, `turned`, each also `upright`, with masks of what viewers display."""
    root = tmp_path_factory.mktemp("photographs") / "VOC"
    for place in ("JPEGImages/turned", "JPEGImages/upright", "SegmentationClass/turned", "SegmentationClass/upright"):
        (root / place).mkdir(parents=True)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for name in NAMES:
        suffix, _, orientation = name.partition("_")
        displayed = Image.fromarray(rng.integers(0, 256, (24, 36, 3), np.uint8))
        turned = root / f"JPEGImages/turned/{name}.{suffix}"
        save_oriented(as_stored(displayed, int(orientation)), turned, int(orientation))
        with Image.open(turned) as stored:
            pixels = np.array(ImageOps.exif_transpose(stored))
        Image.fromarray(pixels).save(root / f"JPEGImages/upright/{name}.png")
        mask = Image.fromarray(rng.integers(0, 5, (24, 36), np.uint8))
        for frame in ("turned", "upright"):
            mask.save(root / f"SegmentationClass/{frame}/{name}.png")
    for frame in ("turned", "upright"):
        ids = "".join(f"{frame}/{name}\n" for name in NAMES)
        (root / f"ImageSets/Segmentation/{frame}.txt").write_text(ids)
    return root


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image of 16 bits a channel, and what it is when scaled from 1000 to 2000."""
    folder = tmp_path_factory.mktemp("deep")
    values = np.random.default_rng(6).integers(900, 2100, (21, 34, 3)).astype(np.uint16)
    (folder / "values.png").write_bytes(png_of_16_bits(values))
    scaled = np.clip(np.round((values.astype(float) - 1000) * 255 / 1000), 0, 255)
    Image.fromarray(scaled.astype(np.uint8)).save(folder / "scaled.png")
    return folder


@pytest.fixture(scope="module")
def ended(finished: Finished, photographs: Path, deep: Path) -> dict[str, Ended]:
    """All commands of this file, one after the other in one process."""
    run, output, turned = f"run={finished.id}", photographs.parent, f"input={photographs}/JPEGImages/turned"
    scaled = "dataset.intensity=[1000,2000]"
    folder = ["dataset=folder", f"dataset.root={photographs}", f"data_dir={photographs.parent}/data"]
    commands = {
        "upright": ["pipeline.evaluate", run, *folder, "dataset.splits.test=upright"],
        "turned": ["pipeline.evaluate", run, *folder, "dataset.splits.test=turned"],
        "applied": ["pipeline.evaluate", run, *folder, "dataset.splits.test=turned", "dataset.exif=apply"],
        "predict upright": [
            "pipeline.predict", run, f"input={photographs}/JPEGImages/upright", f"output={output}/upright",
        ],
        "predict turned": ["pipeline.predict", run, turned, f"output={output}/turned"],
        "predict applied": ["pipeline.predict", run, turned, f"output={output}/applied", "dataset.exif=apply"],
        "predict deep": ["pipeline.predict", run, f"input={deep}", f"output={output}/refused"],
        "predict scaled": ["pipeline.predict", run, f"input={deep}", f"output={output}/deep", scaled],
        "predict mistyped": ["pipeline.predict", run, f"input={deep}", f"output={output}/none", "dataset.exif=aply"],
    }  # fmt: skip
    done = several(list(commands.values()), finished.cwd)
    return dict(zip(commands, done, strict=True))


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.array(mask)


def test_applied_orientations_score_as_upright_files(ended: dict[str, Ended]) -> None:
    assert ended["upright"].status == ended["applied"].status == 0
    tables = [lines(ended[name].stdout)[1:] for name in ("upright", "applied")]
    assert tables[0] == tables[1] and len(tables[0]) > 5


def test_orientations_are_refused_by_name_in_scoring(ended: dict[str, Ended]) -> None:
    assert ended["turned"].status == 2
    faults = lines(ended["turned"].stderr)
    assert len(faults) == 15
    assert faults[0].startswith("error: JPEGImages/turned/jpg_2.jpg: has EXIF orientation 2: displayed mirrored from")
    assert faults[-1].startswith("error: dataset.exif=refuse: such images can be read in two ways: dataset.exif=apply")


def test_predicted_masks_follow_the_orientation(finished: Finished, photographs: Path, ended: dict[str, Ended]) -> None:
    """The run refuses them, which a key of the command changes; the masks are those of the upright files."""
    refused, applied = ended["predict turned"], ended["predict applied"]
    assert refused.status == 1 and len(lines(refused.stderr)) == 15
    assert f"error: {photographs}/JPEGImages/turned/jpg_6.jpg: has EXIF orientation 6: " in refused.stderr
    assert "2 of 16 images predicted" in refused.stdout
    assert (applied.status, applied.stderr) == (0, "")
    assert applied.stdout.count("(EXIF orientation applied, ") == 14
    for name in NAMES:
        expected = mask_of(photographs.parent / f"upright/{name}.png")
        np.testing.assert_array_equal(mask_of(photographs.parent / f"applied/{name}.png"), expected)


def test_16_bits_are_refused_or_scaled_in_prediction(photographs: Path, deep: Path, ended: dict[str, Ended]) -> None:
    refused, scaled = ended["predict deep"], ended["predict scaled"]
    assert refused.status == 1
    fault, way_out = lines(refused.stderr)
    assert fault.startswith(f"error: {deep}/values.png: has 16 bits a channel, with values from 90")
    assert "'dataset.intensity=[low,high]'" in way_out
    assert (scaled.status, scaled.stderr) == (0, "")
    assert "(16 bits a channel, scaled from 1000 to 2000)" in scaled.stdout
    masks = [mask_of(photographs.parent / f"deep/{name}.png") for name in ("values", "scaled")]
    np.testing.assert_array_equal(*masks)


def test_a_mistyped_key_is_one_line(ended: dict[str, Ended]) -> None:
    assert ended["predict mistyped"].status == 2
    assert lines(ended["predict mistyped"].stderr) == [
        "error: dataset.exif=aply: refuse, apply or ignore expected (did you mean 'apply'?)"
    ]
