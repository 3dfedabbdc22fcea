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
input=…          a JPEG or PNG file, or a folder whose JPEG and PNG files are taken
output=…         folder for <stem>.png (class indices with VOC's palette, at the image's own size) and
                 <stem>_overlay.png (the classes half-transparent over the photograph, with a legend)
tracking.uri=…   MLflow tracking address; by default mlruns/mlflow.db in the current directory

An image that cannot be read is reported, the others are done, and the exit status is 1.
"""

ORIENTATION = 0x0112  # the EXIF tag that asks a viewer to turn an image


def main(arguments: list[str]) -> int:
    """Predict for every image; 0 when all were done, 1 when some could not be read.

    Raises:
        UserError: arguments, run or input folder are wrong; nothing was predicted.
    """
    given = parse(arguments, ("run", "input", "output"), ("tracking.uri",)).values
    paths = _images(Path(given["input"]), Path(given["output"]))
    import_tensorflow()
    from pipeline.data.decode import decode_file
    from pipeline.evaluate.overlay import comparison, to_palette_png, write_png
    from pipeline.model.build import load_network
    from pipeline.model.inference import predictor
    from pipeline.runtime.hardware import set_up
    from pipeline.tracking.stored_run import fetch_weights, open_run

    stored = open_run(given["run"], given.get("tracking.uri"))
    with stored.folder:
        weights, recorded = fetch_weights(stored)
        trained = stored.config()
        set_up(trained)
        network = load_network(trained, weights, recorded)
    predict = predictor(network, trained)
    output = output_folder(given["output"])
    failed = 0
    for path in paths:
        try:
            with open_whole(path) as opened:
                turned = opened.getexif().get(ORIENTATION, 1) != 1
            image = decode_file(path)
            prediction = predict(image).numpy()
        except UNDECODABLE as error:
            print(f"error: {path}: {undecodable(error)}", file=sys.stderr)
            failed += 1
            continue
        write_png(output / f"{path.stem}.png", to_palette_png(prediction))
        sheet = comparison(image, None, prediction, trained.dataset.classes, path.stem)
        write_png(output / f"{path.stem}_overlay.png", sheet)
        note = "  (its EXIF data ask for a turn; the mask is in the file's own pixel frame)" if turned else ""
        print(f"{path} -> {output / path.stem}.png{note}")
    print(f"{len(paths) - failed} of {len(paths)} images predicted with run {stored.run_id}")
    return 1 if failed else 0


def _images(place: Path, output: Path) -> list[Path]:
    """The images of a folder, or the one image.

    Raises:
        UserError: nothing is there, two results would be written to the same file, or a result over an image.
    """
    if not place.exists():
        raise UserError(f"input={place}: there is no such file or folder")
    found = [place]
    if place.is_dir():
        found = sorted(file for file in place.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"input={place}: has no {', '.join(IMAGE_SUFFIXES)} file")
    results = Counter(output / f"{file.stem}{end}.png" for file in found for end in ("", "_overlay"))
    if repeated := sorted(file.name for file, count in results.items() if count > 1):
        raise UserError(f"input={place}: several images would write {', '.join(repeated[:5])}; rename one of them")
    if lost := sorted({file.resolve() for file in results} & {file.resolve() for file in found}):
        raise UserError(f"output={output}: would write over the image {lost[0].name}; choose another folder")
    return found


if __name__ == "__main__":
    run_tool(main, HELP)
