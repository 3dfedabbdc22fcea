"""Masks and overlays for images, by the network of a tracked run: `python -m pipeline.predict`."""

import sys
from collections import Counter
from pathlib import Path

from pipeline.data.image_files import UNDECODABLE, open_whole, undecodable
from pipeline.data.voc import IMAGE_SUFFIXES
from pipeline.runtime.cli import output_folder, parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import import_tensorflow

HELP = """\
Predicts masks for images with the network of a tracked run.

  python -m pipeline.predict run=<id> input=<image or folder> output=<folder>

run=…            MLflow's run id, or the run's run_key
input=…          a JPEG or PNG file, or a folder: its JPEG and PNG files
output=…         folder for <stem>.png (class indices with the run's colours, at the image's own size) and
                 <stem>_overlay.png (the classes half-transparent over the photograph, with a legend)
tracking.uri=…   MLflow tracking address; by default mlruns/mlflow.db in the current directory

An image that cannot be read is reported; the others are predicted, and the exit status is 1.
"""

ORIENTATION = 0x0112  # the EXIF tag for how a viewer should rotate an image


def main(arguments: list[str]) -> int:
    """Predict every image; returns the exit status: 0, or 1 when some images could not be read.

    Raises:
        UserError: arguments, run or input folder are wrong; nothing was predicted.
    """
    given = parse(arguments, ("run", "input", "output"), ("tracking.uri",)).values
    paths = _images(Path(given["input"]), Path(given["output"]))
    import_tensorflow()
    from pipeline.data.classes import Classes
    from pipeline.data.decode import decode_file
    from pipeline.evaluate.overlay import to_palette_png, write_png
    from pipeline.evaluate.overlay_sheet import overlay_sheet
    from pipeline.evaluate.stored_network import load_stored_network
    from pipeline.model.inference import predictor

    stored = load_stored_network(given["run"], given.get("tracking.uri"))
    predict = predictor(stored.network, stored.config)
    output, classes = output_folder(given["output"]), Classes.of(stored.config.dataset)
    failed = 0
    for path in paths:
        try:
            with open_whole(path) as opened:
                rotated = opened.getexif().get(ORIENTATION, 1) != 1
            image = decode_file(path)
            prediction = predict(image).numpy()
        except UNDECODABLE as error:
            print(f"error: {path}: {undecodable(error)}", file=sys.stderr)
            failed += 1
            continue
        write_png(output / f"{path.stem}.png", to_palette_png(prediction, classes.palette))
        sheet = overlay_sheet(image, None, prediction, classes, path.stem)
        write_png(output / f"{path.stem}_overlay.png", sheet)
        note = "  (EXIF orientation ignored: the mask fits the pixels as they are stored)" if rotated else ""
        print(f"{path} -> {output / path.stem}.png{note}")
    print(f"{len(paths) - failed} of {len(paths)} images predicted with run {stored.run_id}")
    return 1 if failed else 0


def _images(place: Path, output: Path) -> list[Path]:
    """The image files of a folder, or the one image file.

    Raises:
        UserError: there are none, or a result would overwrite another one or an image.
    """
    if not place.exists():
        raise UserError(f"input={place}: not found; an image or a folder expected")
    found = [place]
    if place.is_dir():
        found = sorted(file for file in place.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"input={place}: has no {', '.join(IMAGE_SUFFIXES)} file")
    results = Counter(output / f"{file.stem}{end}.png" for file in found for end in ("", "_overlay"))
    if repeated := sorted(file.name for file, count in results.items() if count > 1):
        raise UserError(
            f"input={place}: several images would be written to {', '.join(repeated[:5])}; rename all but one"
        )
    if lost := sorted({file.resolve() for file in results} & {file.resolve() for file in found}):
        raise UserError(f"output={output}: would overwrite the image {lost[0].name}; choose another folder")
    return found


if __name__ == "__main__":
    run_tool(main, HELP)
