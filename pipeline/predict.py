"""Masks and overlays for images, by the network of a tracked run: `python -m pipeline.predict`."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pipeline.data.layout import IMAGE_SUFFIXES
from pipeline.data.pixels import TURNED, PixelRules, has_16_bits
from pipeline.evaluate.overrides import PIXEL_KEYS, compose, with_data
from pipeline.runtime.cli import output_folder, parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import import_tensorflow
from pipeline.runtime.text import plain

HELP = """\
Predicts masks for images with the network of a tracked run.

  python -m pipeline.predict run=<id> input=<image or folder> output=<folder>

run=…            MLflow's run id, the run's run_key, or a registered model: models:/<name>@<alias>, models:/<name>/3
input=…          a JPEG or PNG file, or a folder: its JPEG and PNG files that are not hidden
output=…         folder for <stem>.png (class indices with the run's colours, at the image's own size) and
                 <stem>_overlay.png (the classes half-transparent over the photograph, with a legend)
dataset.exif=…, dataset.intensity=…   how images with an EXIF orientation, or more than 8 bits a channel, are read, if
                 not as the run's were: see run.py --help
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder

An image that cannot be read, or that the run refuses, is reported; the others are predicted, and the exit status is 1.
"""


def main(arguments: list[str]) -> int:
    """Predict every image; returns the exit status: 0, or 1 when some images could not be read.

    Raises:
        UserError: arguments, run or input folder are wrong; nothing was predicted.
    """
    keys = [f"dataset.{name}" for name in PIXEL_KEYS]
    given = parse(arguments, ("run", "input", "output"), ("tracking.uri", *keys)).values
    overrides = [f"{key}={given[key]}" for key in keys if key in given]
    composed = compose(overrides)
    paths, others = _images(Path(given["input"]), Path(given["output"]))
    import_tensorflow()
    from pipeline.data.classes import Classes
    from pipeline.data.decode import decode_file
    from pipeline.data.image_check import check_image, orientation_fault, ways_out
    from pipeline.evaluate.overlay import to_palette_png, write_png
    from pipeline.evaluate.overlay_sheet import overlay_sheet
    from pipeline.evaluate.stored_network import load_stored_network
    from pipeline.model.inference import predictor

    stored = load_stored_network(given["run"], given.get("tracking.uri"))
    predict = predictor(stored.network, stored.config)
    rules = PixelRules.of(with_data(stored.config, composed, overrides).dataset)
    output, classes = output_folder(given["output"]), Classes.of(stored.config.dataset)
    faults: list[str] = []
    failed = 0
    for path in paths:
        refused, found = check_image(path, str(path), rules)
        if found is not None and (fault := orientation_fault(str(path), found, rules)):
            refused.append(fault)
        if refused or found is None:
            for fault in refused:
                print(f"error: {fault}", file=sys.stderr)
            faults += refused
            failed += 1
            continue
        image = decode_file(path, rules.turn(found.orientation), rules.intensity)
        prediction = predict(image).numpy()
        # The overlay first: next to it the mask is known as a prediction.
        sheet = overlay_sheet(image, None, prediction, classes, path.stem)
        write_png(output / f"{path.stem}_overlay.png", sheet)
        write_png(output / f"{path.stem}.png", to_palette_png(prediction, classes.palette))
        print(f"{path} -> {output / path.stem}.png{_note(path, found.orientation, rules)}")
    for line in ways_out(faults, rules):
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(paths) - failed} of {len(paths)} images predicted with run {stored.run_id}")
    if others:
        print(f"not looked at in {given['input']}: {others}")
    return 1 if failed else 0


def _note(path: Path, orientation: int, rules: PixelRules) -> str:
    """What was done to an image that is not taken as its file stores it, or was not done though viewers do it."""
    notes = []
    if orientation != 1 and rules.exif == "apply":
        notes.append(f"EXIF orientation applied, {TURNED[orientation]}: the mask fits the image as viewers display it")
    elif orientation != 1:
        notes.append("EXIF orientation ignored: the mask fits the pixels as they are stored")
    if has_16_bits(path) and rules.intensity is not None:
        low, high = rules.intensity
        notes.append(f"16 bits a channel, scaled from {low:g} to {high:g}")
    return f"  ({'; '.join(notes)})" if notes else ""


def _images(place: Path, output: Path) -> tuple[list[Path], str]:
    """The image files of a folder, or the one image file; and what else the folder has, in words.

    Raises:
        UserError: there are none, or a result would overwrite another one, an image, or a mask that predict has not
            written.
    """
    if not place.exists():
        raise UserError(f"input={place}: not found; an image or a folder expected")
    found, others = [place], ""
    if place.is_dir():
        entries = sorted(place.iterdir())
        found = [file for file in entries if _is_image(file)]
        others = _counted(entry for entry in entries if not _is_image(entry))
    if not found:
        raise UserError(
            f"input={place}: has no {', '.join(IMAGE_SUFFIXES)} file, but {others or 'nothing at all'}; the folder "
            "that directly holds the images expected"
        )
    results = Counter(output / f"{file.stem}{end}.png" for file in found for end in ("", "_overlay"))
    if repeated := sorted(file.name for file, count in results.items() if count > 1):
        raise UserError(
            f"input={place}: several images would be written to {', '.join(repeated[:5])}; rename all but one"
        )
    if lost := sorted({file.resolve() for file in results} & {file.resolve() for file in found}):
        raise UserError(f"output={output}: would overwrite the image {lost[0].name}; choose another folder")
    if place.is_dir() and output.resolve() == place.resolve():
        raise UserError(
            f"output={output}: is the folder of the images, where masks would be taken for images later; choose "
            "another folder"
        )
    # Masks that were drawn by hand have no overlay next to them.
    foreign = [file.stem for file in found if _exists(output, file, "") and not _exists(output, file, "_overlay")]
    if foreign:
        raise UserError(
            f"output={output}: would overwrite {foreign[0]}.png, which is no earlier prediction, since "
            f"{foreign[0]}_overlay.png is missing; choose another folder"
        )
    return found, others


def _exists(output: Path, file: Path, end: str) -> bool:
    return (output / f"{file.stem}{end}.png").exists()


def _is_image(file: Path) -> bool:
    """Whether a file of a folder is predicted. Hidden ones, such as macOS's `._x.jpg`, are no images."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _counted(entries: Iterable[Path]) -> str:
    """`2 .tif, 1 hidden and 3 folders`; empty for no entries."""

    def kind(entry: Path) -> str:
        if entry.is_dir():
            return "folders"
        return "hidden" if entry.name.startswith(".") else plain(entry.suffix.lower()) or "without ending"

    counts = Counter(map(kind, entries)).most_common()
    folders = [f"{count} folder{'s' * (count > 1)}" for name, count in counts if name == "folders"]
    words = [*(f"{count} {name}" for name, count in counts if name != "folders"), *folders]
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


if __name__ == "__main__":
    run_tool(main, HELP)
