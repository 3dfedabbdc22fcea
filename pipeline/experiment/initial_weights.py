"""What a network starts from instead of random weights: a pretrained encoder, or the weights of a tracked run."""

from pipeline.config.schema import Config, ModelConfig
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.rerun import INITIAL, Original
from pipeline.model.build import InitialWeights
from pipeline.model.encoders.pretrained import encoder_weights
from pipeline.model.unet import LOGITS
from pipeline.model.weights import Arrays, read_arrays, weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.tracking.registry import PREFIX
from pipeline.tracking.stored_run import fetch_weights, open_run
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point
from pipeline.train.checkpoint_writer import CheckpointWriter


def find_initial_weights(config: Config, lineage: Lineage) -> tuple[InitialWeights | None, str | None]:
    """The weights that a run starts from, and their SHA-256; None and None for random ones.

    A run that resumes from a checkpoint has all its weights there. Its initial weights may not be available any more,
    and are not needed: only their recorded hash is returned.

    Raises:
        UserError: the weights are not available, or do not fit the network.
    """
    wanted = config.init_from is not None or config.model.encoder_weights is not None
    resumed = lineage.resume
    if wanted and resumed is not None and newest_resume_point(resumed.checkpoints)[0] is not None:
        return None, resumed.initial_sha256
    initial = requested_weights(config, lineage.rerun)
    return initial, initial.sha256 if initial is not None else None


def requested_weights(config: Config, original: Original | None = None) -> InitialWeights | None:
    """The weights that `init_from` or `model.encoder_weights` names; None for random ones.

    Args:
        original: the run that is repeated. The initial weights that it stored are used, unless others are requested.

    Raises:
        UserError: the weights are not available, or do not fit the network.
    """
    if original is not None and original.initial and _same_request(config, original.config):
        arrays, note = original.initial, f"the initial weights are those that run {original.run_id} stored"
        if config.init_from is not None and config.dataset.classes != original.config.dataset.classes:
            arrays = _without_logits(arrays)
            note += ", which has other classes, so the logits start from random weights"
        return InitialWeights(arrays, f"rerun={original.run_id}", encoder_only=config.init_from is None, note=note)
    if config.init_from is not None:
        return _weights_of_run(config, config.init_from)
    if config.model.encoder_weights is not None:
        source = f"model.encoder_weights={config.model.encoder_weights}"
        return InitialWeights(encoder_weights(config.model), source, encoder_only=True)
    return None


def log_initial_weights(run: TrackedRun, config: Config, initial: InitialWeights) -> None:
    """Log the initial weights if they are another run's or a file's, which may be gone when this run is repeated.

    Raises:
        RunFailed: they cannot be written.
    """
    if config.init_from is not None or config.model.encoder_weights != "imagenet":
        writer = CheckpointWriter(run.folder / "initial", {"weights.npz": initial.arrays})
        writer.commit({"weights_sha256": initial.sha256})
        run.move_artifacts(writer.folder, INITIAL)


def _weights_of_run(config: Config, name: str) -> InitialWeights:
    """Args: name: the value of `init_from`, a run's id or key, or a registered model."""
    source = f"init_from={name}"
    stored = open_run(name, config.tracking.uri, "init_from")
    with stored.folder:
        path, recorded = fetch_weights(stored)
        arrays, theirs = read_arrays(path), stored.config()
    if (found := weights_sha256(arrays)) != recorded:
        raise UserError(f"{source}: weights_sha256 is {found}, but the run recorded {recorded}")
    if faults := _differing_keys(config.model, theirs.model, source):
        raise UserError(*faults)
    of_run = f"{source}: is run {stored.run_id}" if name.startswith(PREFIX) else None  # an alias moves
    if theirs.dataset.classes == config.dataset.classes:
        return InitialWeights(arrays, source, note=of_run)
    classes = ", ".join(theirs.dataset.classes)
    note = f"{source}: has other classes ({classes}), so the logits start from random weights"
    note = note if of_run is None else f"{of_run}, which {note.removeprefix(f'{source}: ')}"
    return InitialWeights(_without_logits(arrays), source, note=note)


def _same_request(one: Config, other: Config) -> bool:
    return (one.init_from, one.model.encoder_weights) == (other.init_from, other.model.encoder_weights)


def _without_logits(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith(LOGITS)}


def _differing_keys(wanted: ModelConfig, theirs: ModelConfig, source: str) -> list[str]:
    """A message for each key that gives a run's weights other names or shapes than the network's."""
    keys = ["name", "depth", "width", "norm", "logits"]
    if "transposed" in (wanted.upsampling, theirs.upsampling):  # the two interpolations have the same weights
        keys.append("upsampling")
    return [
        f"model.{key}={getattr(wanted, key)}: the run of {source} has another network; "
        f"model.{key}={getattr(theirs, key)} expected"
        for key in keys
        if getattr(wanted, key) != getattr(theirs, key)
    ]
