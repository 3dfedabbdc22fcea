"""What types cannot say of a configuration: one function for each part of it, which returns its faults, a line each."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.config.addresses import storage_address, tracking_uri
from pipeline.config.classes import background_faults, colour_faults
from pipeline.config.folds import fold_faults
from pipeline.config.keys import allowed, as_typed, leaves
from pipeline.config.schema import ENCODER_DEPTH, ENCODERS, Config
from pipeline.runtime.errors import UserError
from pipeline.runtime.paths import typed_path
from pipeline.runtime.text import CONTROL, nearest, plain

MOST_BITS = 63  # of a whole number, besides its sign


def check_lists(config: Config) -> list[str]:
    """OmegaConf accepts lists inside a list of text or numbers; the other checks do not expect them."""
    return [
        f"{name}={plain(as_typed(value))}: a list of single values expected"
        for name, _, value in leaves(config)
        if isinstance(value, list) and any(isinstance(part, list | dict) for part in value)
    ]


def check_numbers(config: Config) -> list[str]:
    """YAML and Python know whole numbers of any length, which nothing can compute with; the other checks print them."""
    return [
        f"{name}: a whole number of {part.bit_length()} bits; at most {MOST_BITS} expected"
        for name, _, value in leaves(config)
        for part in (value if isinstance(value, list) else [value])
        if isinstance(part, int) and part.bit_length() > MOST_BITS
    ]


def check_ranges(config: Config) -> list[str]:
    """Each value alone, against its choices or bounds."""
    return [fault for name, item, value in leaves(config) if (fault := _range_fault(name, item.metadata, value))]


def _range_fault(name: str, metadata: Mapping[str, Any], value: Any) -> str | None:
    choices = metadata["choices"]
    if isinstance(value, str) and choices:
        close = nearest(value, list(choices))
        return None if value in choices else f"{name}={value}: {allowed(metadata)} expected{close}"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if not math.isfinite(value):
        return f"{name}={value}: a finite number expected"
    least, above, most, below = (metadata[bound] for bound in ("least", "above", "most", "below"))
    inside = (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )
    return None if inside else f"{name}={value}: {allowed(metadata)} expected"


def check_text(config: Config) -> list[str]:
    """Values are shown on terminals and become names of runs and files."""
    return [
        f"{name}={plain(str(value))}: text without control characters expected"
        for name, _, value in leaves(config)
        if any(CONTROL.search(str(part)) for part in (value if isinstance(value, list) else [value]))
    ]


def check_sizes(config: Config) -> list[str]:
    """The network halves training crops and windows `model.depth` times, without a remainder."""
    faults, size, window, depth = [], config.image_size, config.evaluate.window, config.model.depth
    multiple = 2**depth if 1 <= depth <= 8 else 1
    if size >= 8 and size % multiple:
        lower = size // multiple * multiple
        valid = f"{lower} or {lower + multiple}" if lower else f"{multiple}"
        faults.append(
            f"image_size={size}: model.depth={depth} halves it {depth} times, so it must be a multiple of {multiple}: "
            f"{valid}"
        )
    if window is not None and window >= 8 and window % multiple:
        faults.append(f"evaluate.window={window}: model.depth={depth} needs a multiple of {multiple}")
    return faults


def check_without_encoder(config: Config) -> list[str]:
    """A network without a pretrained encoder has none of its settings."""
    faults, model = [], config.model
    if model.name != "unet":
        return []
    if model.encoder_weights is not None:
        faults.append(
            f"model.encoder_weights={model.encoder_weights}: model=unet has no pretrained encoder; choose one of "
            + ", ".join(f"model=unet_{encoder}" for encoder in ENCODERS)
        )
    settings = (
        ("model.encoder_norm", model.encoder_norm, "batch"),
        ("optimizer.encoder_rate", config.optimizer.encoder_rate, 1),
    )
    faults += [
        f"{key}={value}: only a pretrained encoder, model=unet_<encoder>, has it; {usual} expected"
        for key, value, usual in settings
        if value != usual
    ]
    return faults


def check_encoder(config: Config) -> list[str]:
    """What an encoder starts from, how deep it is, and whether a frozen one has learned anything."""
    faults, model = [], config.model
    if model.name == "unet":
        return []
    if model.encoder_weights is None and config.init_from is None:
        instead = "or model.encoder_weights=imagenet, or init_from=<run id>"
        if not config.optimizer.encoder_rate:
            faults.append(
                "optimizer.encoder_rate=0: the encoder would stay random (model.encoder_weights=null); more than 0 "
                f"expected, {instead}"
            )
        if model.encoder_norm == "frozen":
            faults.append(
                "model.encoder_norm=frozen: the statistics would keep their initial values "
                f"(model.encoder_weights=null); batch expected, {instead}"
            )
    if config.init_from is not None and model.encoder_weights not in (None, "imagenet"):
        faults.append(
            f"model.encoder_weights={model.encoder_weights}: the file would not be used, since "
            f"init_from={config.init_from} replaces its weights; one of them expected"
        )
    if model.name.removeprefix("unet_") in ENCODERS and model.depth > ENCODER_DEPTH:
        faults.append(
            f"model.depth={model.depth}: {model.name} has {ENCODER_DEPTH} steps; 1 to {ENCODER_DEPTH} expected"
        )
    return faults


def check_optimizer(config: Config) -> list[str]:
    """Some optimizers have settings that others do not have, and so do schedules; the warm-up is part of the run."""
    faults, optimizer, schedule = [], config.optimizer, config.schedule
    if optimizer.momentum is not None and optimizer.name != "sgd":
        faults.append(f"optimizer.momentum={optimizer.momentum}: only optimizer=sgd has it, not {optimizer.name}")
    if optimizer.weight_decay is not None and optimizer.name == "adam":
        faults.append(f"optimizer.weight_decay={optimizer.weight_decay}: adam has none; choose optimizer=adamw or sgd")
    if (schedule.power is not None) != (schedule.name == "poly"):
        power = as_typed(schedule.power)
        faults.append(f"schedule.power={power}: a number expected for schedule=poly, null for the others")
    if schedule.warmup_epochs >= config.epochs > 0:
        faults.append(f"schedule.warmup_epochs={schedule.warmup_epochs}: less than epochs={config.epochs} expected")
    return faults


def check_length(config: Config) -> list[str]:
    """A run whose length is given in steps has equal epochs."""
    steps, epochs = config.steps, config.epochs
    if steps is None or steps < 1 or epochs < 1 or steps % epochs == 0:
        return []
    lower = steps // epochs * epochs
    valid = f"{lower} or {lower + epochs}" if lower else f"{epochs}, or fewer epochs"
    return [f"steps={steps}: epochs={epochs} equal parts need a multiple of {epochs}: {valid}"]


def check_loss(config: Config) -> list[str]:
    """There is a loss, and every setting acts on it."""
    faults, loss = [], config.loss
    if not loss.cross_entropy and not loss.dice:
        faults.append("loss.cross_entropy=0 and loss.dice=0: one of them must be above 0")
    if not loss.cross_entropy and (loss.focal_gamma or loss.class_weights != "none"):
        faults.append(
            "loss.focal_gamma and loss.class_weights act on the cross-entropy: loss.cross_entropy must be above 0"
        )
    return faults


def check_views(config: Config) -> list[str]:
    """How images are cropped, mixed and scaled, in training and in evaluation."""
    faults, augment, scales = [], config.augment, config.evaluate.scales
    if augment.cutmix and config.batch_size == 1:
        faults.append(
            f"augment.cutmix={augment.cutmix}: pastes from the batch's next crop, and batch_size=1 has none; 0 "
            "expected, or a batch_size of at least 2"
        )
    if len(augment.scale) != 2 or not 0.05 <= augment.scale[0] <= augment.scale[1] <= 20:
        faults.append(
            f"augment.scale={augment.scale}: [least, greatest] between 0.05 and 20 expected, for example [0.5, 2]"
        )
    if not scales or any(not 0.1 <= scale <= 10 for scale in scales) or len(set(scales)) < len(scales):
        faults.append(
            f"evaluate.scales={scales}: different numbers from 0.1 to 10 expected, for example [0.75, 1, 1.25]"
        )
    return faults


def check_dataset(config: Config) -> list[str]:
    """The classes, and the folder of a dataset that cannot be downloaded."""
    faults, classes = [], config.dataset.classes
    if not 2 <= len(classes) <= 255:
        faults.append(f"dataset.classes: {len(classes)} names; 2 to 255 expected")
    if repeated := sorted({name for name in classes if classes.count(name) > 1}):
        faults.append(f"dataset.classes: more than once: {', '.join(repeated)}; each name once expected")
    if any(not name.strip() for name in classes):
        faults.append("dataset.classes: a blank name; write every class's name")
    faults += background_faults(config.dataset) + colour_faults(config.dataset) + fold_faults(config.dataset)
    if config.dataset.name == "folder" and config.dataset.root is None:
        faults.append("dataset.root=null: dataset=folder needs the folder that holds JPEGImages/ and the others")
    return faults


def check_intensity(config: Config) -> list[str]:
    """The range of values that images of more than 8 bits a channel are scaled from."""
    found = config.dataset.intensity
    if found is None or (len(found) == 2 and 0 <= found[0] < found[1] <= 2**16 - 1):
        return []
    return [
        f"dataset.intensity={as_typed(found)}: null, or [low,high] with 0 <= low < high <= 65535 expected, for example "
        "[0,4095] for 12 bits"
    ]


def check_addresses(config: Config) -> list[str]:
    """Where runs and the studies of searches are stored, which the environment says where the configuration does not.

    Not one of `CHECKS`, since it depends on where the command runs: a stored configuration is used without its
    addresses. Whatever connects to one checks it.
    """
    faults: list[str] = []
    for absolute, address in ((tracking_uri, config.tracking.uri), (storage_address, config.sweep.storage)):
        try:
            absolute(address)
        except UserError as error:
            faults += error.faults
    return faults


def check_folders(config: Config) -> list[str]:
    """Folders that begin with a user's home. Not one of `CHECKS`, since it depends on the machine."""
    faults: list[str] = []
    for key, folder in (("data_dir", config.data_dir), ("dataset.root", config.dataset.root)):
        try:
            typed_path(key, folder or "")
        except UserError as error:
            faults += error.faults
    return faults


def check_sweep(config: Config) -> list[str]:
    """The sweep's name, which becomes that of a folder, and what a search can optimise."""
    faults, sweep, objectives = [], config.sweep, config.sweep.objectives
    if sweep.name is not None and not re.fullmatch(r"\w[\w.-]{0,99}", sweep.name):
        faults.append(f"sweep.name={sweep.name}: up to 100 letters, digits, '.', '_' and '-' expected")
    if not objectives or len(set(objectives)) < len(objectives):
        faults.append(f"sweep.objectives={objectives}: one or more different metrics expected")
    if test := [objective for objective in objectives if objective.startswith("test/")]:
        faults.append(f"sweep.objectives: {test[0]} is a test score, which must not steer a search; val/… expected")
    if len(objectives) > 1 and sweep.pruner != "none":
        faults.append(f"sweep.pruner={sweep.pruner}: works with one objective, not {len(objectives)}; none expected")
    if len(objectives) > 1 and sweep.sampler == "cmaes":
        faults.append(f"sweep.sampler=cmaes: works with one objective, not {len(objectives)}; nsga2 or tpe expected")
    return faults


CHECKS: tuple[Callable[[Config], list[str]], ...] = (
    check_ranges,
    check_text,
    check_sizes,
    check_without_encoder,
    check_encoder,
    check_optimizer,
    check_length,
    check_loss,
    check_views,
    check_dataset,
    check_intensity,
    check_sweep,
)
