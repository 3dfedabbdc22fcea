"""What a network starts from where that is not random: a pretrained encoder, or the weights of a tracked run."""

from pipeline.config.schema import Config, ModelConfig
from pipeline.experiment.rerun import INITIAL, Original
from pipeline.model.build import InitialWeights
from pipeline.model.encoders.pretrained import encoder_weights
from pipeline.model.unet import LOGITS
from pipeline.model.weights import read_arrays, weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.tracking.stored_run import fetch_weights, open_run
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint_writer import CheckpointWriter


def find_initial(config: Config, original: Original | None = None) -> InitialWeights | None:
    """The weights that `init_from` or `model.encoder_weights` names; None for random ones.

    Args:
        original: the run that is repeated. What it kept of its start is taken, unless other weights are asked for.

    Raises:
        UserError: they cannot be had.
    """
    if original is not None and original.initial and _same_start(config, original.config):
        note = f"its start is the one that run {original.run_id} kept"
        return InitialWeights(
            original.initial, f"rerun={original.run_id}", encoder_only=config.init_from is None, note=note
        )
    if config.init_from is not None:
        return _of_run(config, config.init_from)
    if config.model.encoder_weights is not None:
        origin = f"model.encoder_weights={config.model.encoder_weights}"
        return InitialWeights(encoder_weights(config.model), origin, encoder_only=True)
    return None


def _of_run(config: Config, name: str) -> InitialWeights:
    stored = open_run(name, config.tracking.uri, "init_from")
    with stored.folder:
        path, recorded = fetch_weights(stored)
        arrays, its = read_arrays(path), stored.config()
    if (found := weights_sha256(arrays)) != recorded:
        raise UserError(f"init_from={name}: weights_sha256 is {found}, but the run recorded {recorded}")
    if faults := _other_shapes(config.model, its.model, name):
        raise UserError(*faults)
    theirs = its.dataset.classes
    if theirs == config.dataset.classes:
        return InitialWeights(arrays, f"init_from={name}")
    kept = {key: array for key, array in arrays.items() if not key.startswith(LOGITS)}
    others = f"init_from={name}: has other classes ({', '.join(theirs)})"
    note = f"{others}, so what gives the logits starts from random weights"
    return InitialWeights(kept, f"init_from={name}", note=note)


def keep_initial(run: TrackedRun, config: Config, initial: InitialWeights) -> None:
    """Keep what a run started from, if that is another run's or a file's, which may be gone when it is repeated.

    Raises:
        RunFailed: it cannot be written.
    """
    if config.init_from is not None or config.model.encoder_weights != "imagenet":
        unfinished = CheckpointWriter(run.folder / "initial", {"weights.npz": initial.arrays})
        unfinished.commit({"weights_sha256": initial.sha256})
        run.move_artifacts(unfinished.folder, INITIAL)


def _same_start(one: Config, other: Config) -> bool:
    return (one.init_from, one.model.encoder_weights) == (other.init_from, other.model.encoder_weights)


def _other_shapes(wanted: ModelConfig, its: ModelConfig, name: str) -> list[str]:
    """A line for each key by which a run's weights have other names or shapes than the network's."""
    keys = ["name", "depth", "width", "norm", "logits"]
    if "transposed" in (wanted.upsampling, its.upsampling):  # the two interpolations have the same weights
        keys.append("upsampling")
    return [
        f"model.{key}={getattr(wanted, key)}: init_from= starts from run {name}, which has another network; "
        f"model.{key}={getattr(its, key)} expected"
        for key in keys
        if getattr(wanted, key) != getattr(its, key)
    ]
