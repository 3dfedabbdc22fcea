"""The network of a tracked run as a file that other programs run: `python -m pipeline.export`."""

import importlib.util
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluate.overrides import compose, forbidden, with_data
from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.console import PreparationDisplay, plain_table
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import publish
from pipeline.runtime.hardware import import_tensorflow
from pipeline.runtime.text import nearest, one_of

if TYPE_CHECKING:
    from pipeline.export.formats import Export
    from pipeline.export.verify import Counts
    from pipeline.tracking.stored_run import StoredRun

HELP = """\
Exports the network of a tracked run, with all that is done to an image, for programs without this project.

  python -m pipeline.export run=<id> format=onnx output=streets.onnx
  python -m pipeline.export run=<id> format=litert output=streets.tflite quantize=int8
  python -m pipeline.export run=<id> format=saved_model output=streets probabilities=true

The file takes images of any size, (batch, height, width, 3) uint8 RGB, and returns their class indices, (batch, height,
width) uint8: scaling, padding, views and resizing are in it. It is then run by its own runtime on the run's test split
and scored like the run; differences are printed, and logged to the run as export/<format>/mean_iou and
export/<format>/differing_pixels.

run=…            MLflow's run id, the run's run_key, or a registered model: models:/<name>@<alias>, models:/<name>/3
format=…         onnx (needs the extra onnx), litert (needs the extra litert) or saved_model (a folder, for TensorFlow)
output=…         the file, or the folder of a saved_model, that is written; it must not exist
probabilities=true   returns the probability of each class, (batch, height, width, classes) float32
quantize=int8    weights in 8 bits, for onnx and litert: smaller files with another, mostly lower score, which is
                 logged under export/<format>_int8/; for litert ranges are measured on 100 training images
dataset=…, dataset.*, data_dir=…   other data to compare on, or where the run's are now, as for pipeline.evaluate
evaluate.flip=…, evaluate.scales=…, evaluate.window=…   other views of each image than the run's: fewer are faster
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder
"""

OWN_KEYS = ("run", "format", "output", "probabilities", "quantize", "tracking.uri")
# format: the packages that write and run it, all of the extra with the format's name
PACKAGES = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",), "saved_model": ()}
CALIBRATION = 100  # training images


def main(arguments: list[str]) -> int:
    """Write the file, compare it with the run, and print and log the result; returns the exit status 0.

    Raises:
        UserError: arguments, run or data are wrong, or a package is missing, and nothing was written; or the store did
            not take the scores of a file that is written.
    """
    parsed = parse(arguments, OWN_KEYS[:3], OWN_KEYS[3:], booleans=("probabilities",), overrides=True)
    given, overrides = parsed.values, parsed.overrides
    output = Path(given["output"])
    faults = [*forbidden(overrides, OWN_KEYS), *_faults(given["format"], given.get("quantize"), output)]
    if faults:
        raise UserError(*faults)
    composed = compose(overrides)
    from pipeline.tracking.stored_run import open_run

    run = open_run(given["run"], given.get("tracking.uri"))
    import_tensorflow(run.config().kernels)
    from pipeline.evaluate.stored_network import load_stored_network
    from pipeline.export.formats import Export

    stored = load_stored_network(run)
    config = with_data(stored.config, composed, overrides)
    export = Export(stored, config, given["format"], parsed.is_true("probabilities"), "quantize" in given)
    _export(export, run, output, given.get("tracking.uri"))
    return 0


def _faults(name: str, quantize: str | None, output: Path) -> list[str]:
    """What is wrong with the arguments, and which packages are missing."""
    if name not in PACKAGES:
        return [f"format={name}: {one_of(list(PACKAGES))} expected{nearest(name, list(PACKAGES))}"]
    faults = []
    if any(importlib.util.find_spec(package) is None for package in PACKAGES[name]):
        faults.append(f"format={name}: needs the extra {name}: pip install -c constraints.txt -e '.[{name}]'")
    if quantize not in (None, "int8"):
        faults.append(f"quantize={quantize}: int8 expected, or no quantize")
    elif quantize and name == "saved_model":
        faults.append("quantize=int8: format=onnx or format=litert expected; a saved_model is in the run's precision")
    if output.exists():
        faults.append(f"output={output}: exists; a new name expected")
    return faults


def _export(export: "Export", run: "StoredRun", output: Path, uri: str | None) -> None:
    """Write under a hidden name, compare with the run, and give the file its name only then."""
    from pipeline.data.decode import decode_example
    from pipeline.data.prepare import prepare_dataset
    from pipeline.evaluate.report import fixed_choice
    from pipeline.export.verify import compare

    config = export.config
    split = "val" if config.dataset.splits.test is None else "test"
    calibrated = export.quantized and export.format == "litert"
    with PreparationDisplay() as progress:
        dataset = prepare_dataset(config, progress, ["train", split] if calibrated else [split], trains=False)
    calibration = fixed_choice(dataset.splits["train"], CALIBRATION) if calibrated else []
    examples, classes = dataset.splits[split], len(dataset.classes)
    print(f"writing {export.format}, then comparing it with the run on {len(examples)} {split} images", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    hidden = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        export.write(hidden, [decode_example(example) for example in calibration])
        of_file, of_networks = compare(export.open(hidden), export.networks(), examples, classes)
        publish(hidden, output)
    finally:
        if hidden.is_dir():
            shutil.rmtree(hidden)
        hidden.unlink(missing_ok=True)
    _print(export, output, split, of_file, of_networks)
    own_data = run.has_data(split, dataset.checked.split_digests[split])
    _log(export, own_data, uri, of_file, next(iter(of_networks.values())))


def _print(export: "Export", output: Path, split: str, of_file: "Counts", of_networks: "dict[str, Counts]") -> None:
    """The table of scores, differences and times, and why there are differences."""
    size = sum(part.stat().st_size for part in (output, *output.rglob("*")) if part.is_file())
    print(f"run {export.stored.run_id} is written to {output}, {size / 1e6:.1f} MB")
    rows = [(f"the file, {export.runtime}", of_file, "")]
    rows += [(name, counts, _share(counts)) for name, counts in of_networks.items()]
    count = f"{len(of_file.seconds)} {split} images"
    print(
        plain_table(
            [count, "mean IoU", "pixels that differ", "ms an image"],
            [[name, f"{found.mean_iou:.4f}", share, f"{found.milliseconds:.0f}"] for name, found, share in rows],
            right=("mean IoU", "pixels that differ", "ms an image"),
        )
    )
    if export.quantized:
        print("note: weights of 8 bits give other masks; what that costs is the difference of the mean IoU")
    if export.precision != export.config.precision:
        print(f"note: the file computes in {export.precision}, the run computed in {export.config.precision}")


def _share(counts: "Counts") -> str:
    return f"{counts.differing} of {counts.pixels} ({counts.differing / counts.pixels:.3%})"


def _log(export: "Export", own_data: bool, uri: str | None, of_file: "Counts", of_run: "Counts") -> None:
    """Log the file's score to the run, if it is that of the run's own data and views.

    Args:
        own_data: whether the compared images and masks are the run's.
    """
    from pipeline.tracking.later_metrics import log_later

    stored, used = export.stored.config, export.config
    read_alike = replace(used.dataset, root=stored.dataset.root) == stored.dataset
    viewed_alike = replace(used.evaluate, batch_size=stored.evaluate.batch_size) == stored.evaluate
    if not (own_data and read_alike and viewed_alike):
        print("not logged to the run, since the data or views are not the run's")
        return
    found = {"mean_iou": of_file.mean_iou, "differing_pixels": float(of_run.differing)}
    metrics = {f"{export.metric_prefix}{name}": value for name, value in found.items()}
    log_later(export.stored.run_id, uri, metrics)
    print(f"logged to run {export.stored.run_id}: {', '.join(metrics)}")


if __name__ == "__main__":
    run_tool(main, HELP)
