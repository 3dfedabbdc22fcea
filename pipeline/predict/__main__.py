"""Masks and overlays for images, by the networks of tracked runs: `python -m pipeline.predict`."""

from pathlib import Path

from pipeline.data.pixels import TURNED, PixelRules, has_16_bits
from pipeline.evaluate.overrides import PIXEL_KEYS, compose, with_data
from pipeline.predict.annotations import KEYS as FORMAT_KEYS
from pipeline.predict.annotations import Predicted, annotations_of
from pipeline.predict.find_images import CONFIDENCE, ENDS, MASK, PROBABILITIES, find_images, find_masks
from pipeline.runtime.cli import output_folder, parse, report, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import import_tensorflow
from pipeline.runtime.text import plain

HELP = """\
Predicts masks for images with the network of a tracked run.

  python -m pipeline.predict run=<id> input=<image or folder> output=<folder>
  python -m pipeline.predict run=<id>,<id>,<id> input=… output=…      the mean of their probabilities
  python -m pipeline.predict run=<id> input=… output=… masks=<folder>

run=…            MLflow's run id, the run's run_key, or a registered model: models:/<name>@<alias>, models:/<name>/3;
                 several with commas between them, if they have the same classes
input=…          a JPEG or PNG file, or a folder: its JPEG and PNG files that are not hidden
output=…         folder for <stem>.png (class indices with the run's colours, at the image's own size) and
                 <stem>_overlay.png (the classes half-transparent over the photograph, with a legend); of a folder of
                 images also doubt.csv: their mean entropy in nats and mean confidence, the most uncertain image first
confidence=true  writes <stem>_confidence.png too: 255 times the probability of the predicted class, in grey
probabilities=true   writes <stem>_probabilities.npz too: `probabilities`, (height, width, classes) float16; `classes`
format=labelme|coco|cvat   writes <output>/<format>/ too, for corrections in that tool: the images and the outlines of
                 their predicted regions; coco and cvat list the most uncertain image first
tolerance=1      how many pixels an outline may deviate from its region, for fewer points; 0: exact
smallest=16      with format: regions of fewer pixels are left out
masks=…          folder of true masks, <stem>.png: the predictions are scored against them (evaluation/), labels.csv has
                 the scores of each image, and suspicious/ overlays of the masks that the network trusts least
dataset.exif=…, dataset.intensity=…   how images with an EXIF orientation, or more than 8 bits a channel, are read, if
                 not as the run's were: see run.py --help
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder

An image that cannot be read, or that the run refuses, is reported; the others are predicted, and the exit status is 1.
"""


def main(arguments: list[str]) -> int:
    """Predict every image; returns the exit status: 0, or 1 when some images or masks could not be read.

    Raises:
        UserError: arguments, runs, input or masks are wrong; nothing was predicted.
    """
    keys = [f"dataset.{name}" for name in PIXEL_KEYS]
    extras = {"confidence": CONFIDENCE, "probabilities": PROBABILITIES}
    optional = ("masks", *extras, *FORMAT_KEYS, "tracking.uri", *keys)
    parsed = parse(arguments, ("run", "input", "output"), optional, booleans=tuple(extras))
    given = parsed.values
    overrides = [f"{key}={given[key]}" for key in keys if key in given]
    composed = compose(overrides)
    ends = (*ENDS, *(end for key, end in extras.items() if parsed.is_true(key)))
    annotations = annotations_of(given, Path(given["output"]))
    paths, others = find_images(Path(given["input"]), Path(given["output"]), ends)
    masks = find_masks(Path(given["masks"]), paths, Path(given["output"])) if "masks" in given else None
    from pipeline.tracking.stored_run import open_runs

    runs = open_runs(given["run"], given.get("tracking.uri"))
    import_tensorflow(runs[0].config().kernels)
    from pipeline.data.decode import decode_file
    from pipeline.data.image_check import check_image, orientation_fault, ways_out
    from pipeline.evaluate.ensemble import load_ensemble
    from pipeline.model.ensemble import ensemble_predictor
    from pipeline.predict.given_masks import read_mask
    from pipeline.predict.results import Results

    ensemble = load_ensemble(runs)
    predict = ensemble_predictor([(member.network, member.config) for member in ensemble.members])
    rules = PixelRules.of(with_data(ensemble.config, composed, overrides).dataset)
    results = Results(output_folder(given["output"]), ensemble, ends)
    predicted: dict[str, Predicted] = {}
    faults: list[str] = []
    for path in paths:
        refused, found = check_image(path, str(path), rules)
        if found is not None and (fault := orientation_fault(str(path), found, rules)):
            refused.append(fault)
        if refused or found is None:
            report(UserError(*refused))
            faults += refused
            continue
        image = decode_file(path, rules.turn(found.orientation), rules.intensity)
        truth = None
        if masks is not None and path in masks:
            try:
                truth = read_mask(masks[path], path, found, rules, len(results.classes.names))
            except UserError as error:
                report(error)
                faults += error.faults
        results.add(path, image, truth, *predict(image))
        mask = results.folder / f"{path.stem}{MASK}"
        predicted[path.name] = Predicted(path, mask, found.orientation if rules.exif == "ignore" else 1)
        print(plain(f"{path} -> {mask}{_note(path, found.orientation, rules)}"))
    report(UserError(*ways_out(faults, rules)))
    results.finish(ranks=Path(given["input"]).is_dir(), scores=masks is not None)
    if annotations is not None and predicted:
        print(annotations.write([predicted[name] for name in results.by_doubt], results.classes))
    print(f"{results.count} of {len(paths)} images predicted with {ensemble}")
    if others:
        print(f"not looked at in {given['input']}: {others}")
    return 1 if faults else 0


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


if __name__ == "__main__":
    run_tool(main, HELP)
