"""Scores of a tracked run on any dataset: `python -m pipeline.evaluate`."""

import dataclasses

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.config.validation import check, checked
from pipeline.runtime.cli import output_folder, parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import import_tensorflow
from pipeline.runtime.text import nearest

HELP = """\
Scores the network of a tracked run, exactly: an int64 confusion matrix at the images' own resolution.

  python -m pipeline.evaluate run=<id>                                     on the run's own test split
  python -m pipeline.evaluate run=<id> dataset=folder dataset.root=/my/VOC dataset.splits.test=mine

run=…            MLflow's run id, or the run's run_key
split=…          train, val or test (the default)
dataset=…        another dataset, and dataset.*: as for run.py; its classes must be the run's
data_dir=…       where datasets are downloaded to or generated
evaluate.batch_size=…   changes speed and memory, no score
evaluate.flip=…, evaluate.scales=…, evaluate.window=…   other views of each image than the run's own: other scores
output=…         folder for predictions/, overlays/ and evaluation/ (tables and confusion matrix)
tracking.uri=…   MLflow tracking address; by default mlruns/mlflow.db in the current directory
"""

VIEWS = ("evaluate.batch_size", "evaluate.flip", "evaluate.scales", "evaluate.window")
OWN_KEYS = ("run", "split", "output", "tracking.uri")


def main(arguments: list[str]) -> int:
    """Score and print the table; 0 when done.

    Raises:
        UserError: arguments, run or data are wrong; nothing was scored.
    """
    parsed = parse(arguments, OWN_KEYS[:1], OWN_KEYS[1:], overrides=True)
    given, overrides = parsed.values, parsed.overrides
    allowed = ("dataset", "data_dir", *VIEWS)
    faults = [
        f"{override}: a stored run is scored as it was trained; only dataset, dataset.*, data_dir, {', '.join(VIEWS)} "
        f"can differ{nearest(override.partition('=')[0], [*OWN_KEYS, *allowed])}"
        for override in overrides
        if override.partition("=")[0] not in allowed and not override.startswith("dataset.")
    ]
    split = given.get("split", "test")
    if split not in ("train", "val", "test"):
        faults.append(f"split={split}: train, val or test expected")
    if faults:
        raise UserError(*faults)
    # `with_data` looks whether the run's network can take the windows; here it is one that can take any.
    asked = checked_config([*overrides, "model.depth=1"])
    read = OverridesParser.create().parse_overrides(overrides)
    if swept := [override.input_line for override in read if override.is_sweep_override()]:
        raise UserError(*(f"{override}: one value expected" for override in swept))
    import_tensorflow()
    from pipeline.data.prepare import class_weights, prepare_dataset
    from pipeline.evaluate.evaluator import Evaluator
    from pipeline.evaluate.report import prediction_writer, score_table, write_overlays, write_scores
    from pipeline.model.build import load_network
    from pipeline.model.losses import SegmentationLoss
    from pipeline.runtime.console import PreparationDisplay, text_console
    from pipeline.runtime.hardware import set_up
    from pipeline.tracking.stored_run import fetch_weights, open_run

    stored = open_run(given["run"], given.get("tracking.uri"))
    with stored.folder:
        weights, recorded = fetch_weights(stored)
        trained = stored.config()
        set_up(trained)
        network = load_network(trained, weights, recorded)
    config = with_data(trained, asked, overrides)
    output = output_folder(given["output"]) if "output" in given else None
    if split == "test" and config.dataset.splits.test is None:
        raise UserError("split=test: dataset.splits.test is null; give dataset.splits.test=… or split=val")
    wanted = [split] if config.loss.class_weights == "none" else ["train", split]
    with PreparationDisplay() as progress:
        dataset = prepare_dataset(config, progress, wanted, trains=False)
    examples = dataset.splits[split]
    loss = SegmentationLoss(config.loss, class_weights(config.loss, dataset))
    evaluate = Evaluator(network, loss, examples, dataset.checked.facts[split].sizes, config)
    if output is not None:
        predictions = output / "predictions" / split
        scores = evaluate(prediction_writer(predictions))
        count = config.evaluate.overlays
        write_overlays(output / "overlays", predictions, examples, dataset.classes, scores, count, split)
        write_scores(output / "evaluation", dataset.classes, scores)
    else:
        scores = evaluate()
    console = text_console()
    console.print(f"run {stored.run_id} on {len(examples)} {split} images of {dataset.root}", soft_wrap=True)
    console.print(score_table(dataset.classes, {split: scores}))
    if config.loss.class_weights != trained.loss.class_weights:
        console.print("note: the loss is without the class weights of the run, which are its own data's")
    if output is not None:
        console.print(f"written to {output}: predictions/, overlays/ and evaluation/", soft_wrap=True)
    return 0


def with_data(stored: Config, asked: Config, overrides: list[str]) -> Config:
    """A stored configuration with other data: how an image is predicted stays as it was, but for the views asked for.

    A folder has the run's classes, unless `dataset.classes` says what they are called there, and so has a dataset that
    has as many. With other data the loss is without class weights.

    Args:
        asked: what the overrides compose to by themselves.

    Raises:
        UserError: the number of classes differs from the run's, or its network cannot take the windows.
    """
    keys = {override.partition("=")[0] for override in overrides}
    if "dataset" in keys:
        dataset = asked.dataset
        as_many = len(dataset.classes) == len(stored.dataset.classes)
        if "dataset.classes" not in keys and (dataset.name == "folder" or as_many):
            dataset = dataclasses.replace(dataset, classes=stored.dataset.classes)
    else:
        changed = OmegaConf.structured(stored)
        for override in OverridesParser.create().parse_overrides(overrides):
            if override.key_or_group.startswith("dataset."):
                OmegaConf.update(changed, override.key_or_group, override.value(), merge=True)
        dataset = checked(changed).dataset
    if len(dataset.classes) != len(stored.dataset.classes):
        raise UserError(
            f"dataset.classes: {len(dataset.classes)} names, but the run has {len(stored.dataset.classes)}: "
            + ", ".join(stored.dataset.classes)
        )
    given = {key.partition(".")[2] for key in keys & set(VIEWS)}
    evaluate = dataclasses.replace(stored.evaluate, **{name: getattr(asked.evaluate, name) for name in given})
    data_dir = asked.data_dir if "data_dir" in keys else stored.data_dir
    loss = stored.loss
    if dataset != stored.dataset:  # weights by frequency come from the training masks, which these data need not have
        loss = dataclasses.replace(loss, class_weights="none")
    config = dataclasses.replace(stored, dataset=dataset, evaluate=evaluate, data_dir=data_dir, loss=loss)
    if faults := check(config):
        raise UserError(*faults)
    return config


if __name__ == "__main__":
    run_tool(main, HELP)
