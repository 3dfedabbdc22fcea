"""A random folder is either refused with a line that names a file of it, or scored as a plain loop scores it."""

import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.data.palette import VOID, voc_palette
from pipeline.data.prepare import prepare_dataset
from pipeline.evaluate.evaluator import BatchScorer, Evaluator
from pipeline.evaluate.metrics import Scores
from pipeline.model.losses import SegmentationLoss
from pipeline.runtime.errors import UserError
from tests.data.oriented import as_stored, png_of_16_bits, save_oriented

CLASSES = 3
WEIGHTS = np.array([[2, -1, 0], [-1, 2, 1], [0, -1, 1]], np.float32)  # (colours, classes): sums of integers are exact
BIAS = np.array([0, 0, 60], np.float32)
RANGE = (1000, 60000)

EIGHT_BITS = {  # kinds of images that are read, and how Pillow stores them
    "colour": ("RGB", ".png"), "grey": ("L", ".png"), "palette": ("P", ".png"), "black and white": ("1", ".png"),
    "transparent": ("RGBA", ".png"), "jpeg": ("RGB", ".jpg"), "grey jpeg": ("L", ".JPEG"),
}  # fmt: skip
SIXTEEN_BITS = {"grey of 16 bits": 1, "colour of 16 bits": 3}
ODD_IMAGES = ("cmyk", "tiff", "cut off", "text", "of another size", "missing")
MASKS = ("palette", "grey", "transparent palette")
ODD_MASKS = ("colours", "grey of 16 bits", "label without a class", "cut off", "missing")
NAMES = ("a", "b c", "x%20y", "#1?", "é", "E", "deep/a", "x.y")
LISTS: dict[str, Callable[[list[str]], bytes]] = {
    "plain": lambda names: "\n".join(names).encode(),
    "Windows": lambda names: "".join(f"{name}\r\n" for name in names).encode(),
    "byte order mark": lambda names: "\n".join(names).encode("utf-8-sig"),
    "spaces": lambda names: "\n\n".join(f"  {name} " for name in names).encode(),
}
ODD_LISTS: dict[str, Callable[[list[str]], bytes]] = {
    "endings": lambda names: "\n".join(f"{name}.jpg" for name in names).encode(),
    "pairs": lambda names: "\n".join(f"JPEGImages/{name}.png SegmentationClass/{name}.png" for name in names).encode(),
    "labels": lambda names: "\n".join(f"{name}  1" for name in names).encode(),
    "UTF-16": lambda names: "\n".join(names).encode("utf-16"),
    "twice": lambda names: "\n".join([*names, names[0]]).encode(),
    "empty": lambda names: b"",
}


@dataclass(frozen=True)
class Drawn:
    """One example, as it was drawn."""

    name: str
    image: str  # its kind
    mask: str
    orientation: int
    size: tuple[int, int]  # height, width of the displayed image
    seed: int

    @property
    def labels(self) -> np.ndarray:
        """(height, width) uint8, with every class and void."""
        labels = np.random.default_rng(self.seed).choice([0, 1, 2, VOID], self.size).astype(np.uint8)
        labels[0, :3] = 0, 1, 2
        return labels

    def is_accepted(self, config: Config) -> bool:
        """Whether nothing is wrong with it."""
        turned = self.orientation != 1 and config.dataset.exif == "refuse"
        wide = self.image in SIXTEEN_BITS and config.dataset.intensity is None
        square = self.orientation < 5 or self.size[0] == self.size[1] or config.dataset.exif == "apply"
        return not turned and not wide and square and self.image not in ODD_IMAGES and self.mask in MASKS


examples = st.builds(
    Drawn, st.sampled_from(NAMES), st.sampled_from([*EIGHT_BITS] * 4 + [*SIXTEEN_BITS, *ODD_IMAGES]),
    st.sampled_from(MASKS * 6 + ODD_MASKS), st.sampled_from([1] * 12 + [2, 3, 4, 5, 6, 7, 8]),
    st.tuples(st.integers(3, 40), st.integers(3, 40)), st.integers(0, 2**20),
)  # fmt: skip
folders = st.lists(examples, min_size=1, max_size=4, unique_by=lambda drawn: drawn.name)


def write(root: Path, drawn: Drawn, form: str) -> None:
    """Write an example below a folder in VOC layout; `form` is the Unicode form of the files' names."""
    name = unicodedata.normalize(form, drawn.name)
    image, mask = root / "JPEGImages" / name, root / "SegmentationClass" / f"{name}.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_image(image, drawn)
    write_mask(mask, drawn)


def write_image(stem: Path, drawn: Drawn) -> None:
    rng = np.random.default_rng(drawn.seed + 1)
    kind, (height, width) = drawn.image, drawn.size
    if kind in SIXTEEN_BITS:
        values = rng.integers(0, 2**16, (height, width, SIXTEEN_BITS[kind]), np.uint16)
        stem.with_name(f"{stem.name}.png").write_bytes(png_of_16_bits(values))
        return
    if kind == "missing":
        return
    colours = rng.integers(0, 256, (height + (kind == "of another size"), width, 3), np.uint8)
    mode, suffix = EIGHT_BITS.get(kind, ("RGB", ".png"))
    if kind in ("cmyk", "tiff"):
        mode, suffix = ("CMYK", ".jpg") if kind == "cmyk" else ("RGB", ".tif")
    path = stem.with_name(f"{stem.name}{suffix}")
    stored = as_stored(Image.fromarray(colours), drawn.orientation).convert(mode)
    if kind == "tiff":
        stored.save(path)
    else:
        save_oriented(stored, path, drawn.orientation)
    if kind in ("cut off", "text"):
        path.write_bytes(path.read_bytes()[:-30] if kind == "cut off" else b"no image")


def write_mask(path: Path, drawn: Drawn) -> None:
    kind, labels = drawn.mask, drawn.labels
    if kind == "missing":
        return
    if kind == "label without a class":
        labels[-1, -1] = CLASSES
    stored = Image.fromarray(labels)
    if kind == "colours":
        stored = Image.fromarray(voc_palette()[labels])
    elif kind == "grey of 16 bits":
        stored = Image.fromarray(labels.astype(np.uint16))
    elif kind != "grey":
        stored.putpalette(voc_palette().tobytes())
    stored.save(path, **({"transparency": 0} if kind == "transparent palette" else {}))
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[:-30])


def plain_image(root: Path, drawn: Drawn, form: str, exif: str) -> np.ndarray:
    """(height, width, 3) uint8, by Pillow, or for 16 bits by the formula of the documentation."""
    name = unicodedata.normalize(form, drawn.name)
    parent, last = (root / "JPEGImages" / name).parent, Path(name).name
    (path,) = [path for path in parent.iterdir() if path.name.rpartition(".")[0] == last]
    if drawn.image in SIXTEEN_BITS:
        rng, (height, width) = np.random.default_rng(drawn.seed + 1), drawn.size
        values = rng.integers(0, 2**16, (height, width, SIXTEEN_BITS[drawn.image]), np.uint16).astype(np.float64)
        low, high = RANGE
        scaled = np.clip(np.rint((values - low) * 255 / (high - low)), 0, 255).astype(np.uint8)
        return np.broadcast_to(scaled, (height, width, 3))
    with Image.open(path) as opened:
        return np.array((ImageOps.exif_transpose(opened) if exif == "apply" else opened).convert("RGB"))


def plain_confusion(root: Path, drawn: list[Drawn], form: str, exif: str) -> np.ndarray:
    """(classes, classes) int64: rows true, columns predicted."""
    total = np.zeros((CLASSES, CLASSES), np.int64)
    for example in drawn:
        prediction = (plain_image(root, example, form, exif) @ WEIGHTS + BIAS).argmax(-1)
        for true in range(CLASSES):
            for predicted in range(CLASSES):
                total[true, predicted] += ((example.labels == true) & (prediction == predicted)).sum()
    return total


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """(batch, height, width, 3) uint8 -> logits that depend on the pixel alone."""
    image = keras.Input((None, None, 3), dtype="uint8")
    dense = keras.layers.Dense(CLASSES, dtype="float32")
    model = keras.Model(image, dense(keras.ops.cast(image, "float32")))
    dense.set_weights([WEIGHTS, BIAS])
    return model


def scored(config: Config, network: keras.Model) -> Scores:
    """The scores of the validation split."""
    dataset = prepare_dataset(config, only=("val",), trains=False)
    loss = SegmentationLoss(config.loss, np.ones(CLASSES, np.float32))
    return Evaluator(BatchScorer(network, loss, config), dataset.splits["val"], dataset.sizes("val"), config)()


# Each example compiles a graph, so a failing one is not made smaller.
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    drawn=folders, list_form=st.sampled_from([*LISTS] * 4 + [*ODD_LISTS]), file_form=st.sampled_from(["NFC", "NFD"]),
    exif=st.sampled_from(["refuse", "apply", "ignore"]), wide=st.booleans(),
)  # fmt: skip
def test_a_folder_is_scored_as_by_a_plain_loop_or_refused(
    drawn: list[Drawn], list_form: str, file_form: str, exif: str, wide: bool, network: keras.Model
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "VOC"
        lists = root / "ImageSets/Segmentation"
        for folder in (root / "JPEGImages", root / "SegmentationClass", lists):
            folder.mkdir(parents=True)
        for example in drawn:
            write(root, example, file_form)
        text = (LISTS | ODD_LISTS)[list_form]([example.name for example in drawn])
        (lists / "val.txt").write_bytes(text)
        config = checked_config(
            [
                "dataset=folder", f"dataset.root={root}", f"data_dir={place}", "dataset.classes=[background,b,c]",
                "dataset.splits.val=val", f"dataset.exif={exif}", "image_size=16", "model.depth=1",
                *([f"dataset.intensity=[{RANGE[0]},{RANGE[1]}]"] if wide else []),
            ]
        )  # fmt: skip
        is_good = list_form in LISTS and all(example.is_accepted(config) for example in drawn)
        try:
            scores = scored(config, network)
        except UserError as refusal:
            event("refused")
            known = {Path(example.name).name for example in drawn} | {"val.txt"}
            names = known | {unicodedata.normalize("NFD", name) for name in known}
            assert not is_good, refusal.faults
            assert any(name in fault for fault in refusal.faults for name in names), refusal.faults
            return
        event("scored")
        expected = plain_confusion(root, drawn, file_form, exif)
        np.testing.assert_array_equal(scores.confusion_matrix, expected)
        union = expected.sum(0) + expected.sum(1) - np.diag(expected)
        assert scores.mean_iou == pytest.approx(np.mean(np.diag(expected)[union > 0] / union[union > 0]), abs=1e-15)
