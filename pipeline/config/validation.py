"""What types cannot say of a configuration: values out of range, and keys that do not go together."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.addresses import storage_address, tracking_uri
from pipeline.config.keys import allowed, leaves
from pipeline.config.schema import ENCODER_DEPTH, ENCODERS, Config, SweepConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import CONTROL, nearest, plain


def check(config: Config) -> list[str]:
    """Everything in a typed configuration that cannot work, one line a fault; empty when all is well."""
    faults = [fault for name, item, value in leaves(config) if (fault := _outside(name, item.metadata, value))]
    faults += [
        f"{name}={plain(str(value))}: text without control characters expected"
        for name, _, value in leaves(config)
        if any(CONTROL.search(str(part)) for part in (value if isinstance(value, list) else [value]))
    ]
    model, optimizer, loss, augment = config.model, config.optimizer, config.loss, config.augment
    classes = config.dataset.classes
    multiple = 2**model.depth if 1 <= model.depth <= 8 else 1
    if config.image_size >= 8 and config.image_size % multiple:
        lower = config.image_size // multiple * multiple
        valid = f"{lower} or {lower + multiple}" if lower else f"{multiple}"
        faults.append(
            f"image_size={config.image_size}: model.depth={model.depth} halves it {model.depth} times, "
            f"so it must be a multiple of {multiple}: {valid}"
        )
    faults += _check_encoder(config)
    if optimizer.momentum is not None and optimizer.name != "sgd":
        faults.append(f"optimizer.momentum={optimizer.momentum}: only optimizer=sgd has it, not {optimizer.name}")
    if optimizer.weight_decay is not None and optimizer.name == "adam":
        faults.append(f"optimizer.weight_decay={optimizer.weight_decay}: adam has none; choose optimizer=adamw or sgd")
    if (config.schedule.power is not None) != (config.schedule.name == "poly"):
        faults.append(f"schedule.power={config.schedule.power}: a number for schedule=poly, null for the others")
    if config.schedule.warmup_epochs >= config.epochs > 0:
        faults.append(
            f"schedule.warmup_epochs={config.schedule.warmup_epochs}: less than epochs={config.epochs} expected"
        )
    if not loss.cross_entropy and not loss.dice:
        faults.append("loss.cross_entropy=0 and loss.dice=0: one of them must be above 0")
    if not loss.cross_entropy and (loss.focal_gamma or loss.class_weights != "none"):
        faults.append(
            "loss.focal_gamma and loss.class_weights act on the cross-entropy: loss.cross_entropy must be above 0"
        )
    if augment.cutmix and config.batch_size == 1:
        faults.append(
            f"augment.cutmix={augment.cutmix}: pastes from the batch's next crop, and batch_size=1 has none; 0, or a "
            "batch_size of 2 or more, expected"
        )
    if len(augment.scale) != 2 or not 0.05 <= augment.scale[0] <= augment.scale[1] <= 20:
        faults.append(
            f"augment.scale={augment.scale}: [least, greatest] between 0.05 and 20 expected, for example [0.5, 2]"
        )
    scales, window = config.evaluate.scales, config.evaluate.window
    if not scales or any(not 0.1 <= scale <= 10 for scale in scales) or len(set(scales)) < len(scales):
        faults.append(
            f"evaluate.scales={scales}: numbers from 0.1 to 10, each once, expected, for example [0.75, 1, 1.25]"
        )
    if window is not None and window >= 8 and window % multiple:
        faults.append(f"evaluate.window={window}: model.depth={model.depth} wants a multiple of {multiple}")
    if not 2 <= len(classes) <= 255:
        faults.append(f"dataset.classes: {len(classes)} names; 2 to 255 expected, background first")
    if repeated := sorted({name for name in classes if classes.count(name) > 1}):
        faults.append(f"dataset.classes: more than once: {', '.join(repeated)}; each name once expected")
    if any(not name.strip() for name in classes):
        faults.append("dataset.classes: a blank name; write every class's name")
    if config.dataset.name == "folder" and config.dataset.root is None:
        faults.append("dataset.root=null: dataset=folder needs the folder that holds JPEGImages/ and the others")
    faults += _check_address(tracking_uri, config.tracking.uri) + _check_address(storage_address, config.sweep.storage)
    return faults + _check_sweep(config.sweep)


def _check_encoder(config: Config) -> list[str]:
    model, rate, faults = config.model, config.optimizer.encoder_rate, []
    if model.name == "unet" and model.encoder_weights is not None:
        faults.append(
            f"model.encoder_weights={model.encoder_weights}: model=unet has no pretrained encoder; choose one of "
            + ", ".join(f"model=unet_{encoder}" for encoder in ENCODERS)
        )
    elsewhere = {"model.encoder_norm": (model.encoder_norm, "batch"), "optimizer.encoder_rate": (rate, 1)}
    faults += [
        f"{key}={value}: only a pretrained encoder, model=unet_<encoder>, has it; {usual} expected"
        for key, (value, usual) in elsewhere.items()
        if model.name == "unet" and value != usual
    ]
    if model.name != "unet" and model.encoder_weights is None and config.init_from is None:
        instead = "or model.encoder_weights=imagenet, or init_from=<run id>"
        if not rate:
            faults.append(
                "optimizer.encoder_rate=0: the encoder would stay random (model.encoder_weights=null); more "
                f"than 0 expected, {instead}"
            )
        if model.encoder_norm == "frozen":
            faults.append(
                "model.encoder_norm=frozen: the statistics would stay those of no image (model.encoder_weights=null);"
                f" batch expected, {instead}"
            )
    if config.init_from is not None and model.encoder_weights not in (None, "imagenet"):
        faults.append(
            f"model.encoder_weights={model.encoder_weights}: the file would not be looked at beside "
            f"init_from={config.init_from}; one of them expected"
        )
    if model.name.removeprefix("unet_") in ENCODERS and model.depth > ENCODER_DEPTH:
        faults.append(
            f"model.depth={model.depth}: {model.name} has {ENCODER_DEPTH} steps; 1 to {ENCODER_DEPTH} expected"
        )
    return faults


def _check_address(absolute: Callable[[str | None], str], address: str | None) -> list[str]:
    try:
        absolute(address)
    except UserError as error:
        return list(error.faults)
    return []


def _check_sweep(sweep: SweepConfig) -> list[str]:
    faults = []
    objectives = sweep.objectives
    if sweep.name is not None and not re.fullmatch(r"\w[\w.-]{0,99}", sweep.name):  # it becomes a folder's name
        faults.append(f"sweep.name={sweep.name}: up to 100 letters, digits, '.', '_' and '-' expected")
    if not objectives or len(set(objectives)) < len(objectives):
        faults.append(f"sweep.objectives={objectives}: one metric or more expected, each once")
    if test := [objective for objective in objectives if objective.startswith("test/")]:
        faults.append(f"sweep.objectives: {test[0]} is of the test split, which must steer nothing; val/… expected")
    if len(objectives) > 1 and sweep.pruner != "none":
        faults.append(f"sweep.pruner={sweep.pruner}: prunes by one objective, not by {len(objectives)}; none expected")
    if len(objectives) > 1 and sweep.sampler == "cmaes":
        faults.append(f"sweep.sampler=cmaes: has one objective, not {len(objectives)}; nsga2 or tpe expected")
    return faults


def _outside(name: str, metadata: Mapping[str, Any], value: Any) -> str | None:
    """The fault of one value against its choices or bounds, or None."""
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


def checked(composed: DictConfig) -> Config:
    """A composed configuration as the schema's dataclasses, every value in its range.

    Merged as plain data into a fresh schema, since `+key=value` gets past the schema while Hydra composes.

    Raises:
        UserError: with every fault, one line each.
    """
    try:
        config = typed(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.to_container(composed)))
    except OmegaConfBaseException as error:
        raise UserError(": ".join(part for part in (error.full_key, reason(error)) if part)) from error
    if faults := check(config):
        raise UserError(*faults)
    return config


def typed(config: DictConfig | ListConfig) -> Config:
    """A merged configuration as the schema's dataclasses; ranges are not checked."""
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, Config)
    return typed


# What Hydra and OmegaConf say of values, and how a person who does not know them would put it.
PLAINLY = (
    (r"^Value '(.*)' of type '\w+' could not be converted to Integer$", r"a whole number expected, not '\1'"),
    (r"^Value '(.*)' of type '\w+' could not be converted to Float$", r"a number expected, not '\1'"),
    (r"^Value '(.*)' is not a valid bool \(type \w+\)$", r"true or false expected, not '\1'"),
    (r"^field '\w+' is not Optional$", "it cannot be null"),
    (r"^Invalid value assigned: \w+ is not a ListConfig, list or tuple\.$", "a list expected, such as '[0.5,2]'"),
    (
        r"^Ambiguous value for argument '(\S+?)=(\S*)' .*$",
        r"\1=\2: several values are a sweep, python run.py -m \1=\2 …; one value that is a list is written '\1=[\2]'",
    ),
)


def reason(error: BaseException) -> str:
    """The lines of a Hydra or OmegaConf error that say what is wrong, as one line."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    told = str(cause).partition("Config search path")[0].splitlines()
    hidden = ("full_key", "object_type", "reference_type")
    text = " ".join(line.strip() for line in told if line.strip() and not line.strip().startswith(hidden))
    for pattern, plainly in PLAINLY:
        text = re.sub(pattern, plainly, text)
    return text
