"""A composed configuration becomes a checked one: the schema's types, values in their ranges, no contradictions."""

import re
from dataclasses import replace

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.checks import CHECKS, check_lists, check_numbers
from pipeline.config.classes import VOC_NAMES, with_background
from pipeline.config.dataset_file import with_dataset_file
from pipeline.config.schema import Config
from pipeline.runtime.errors import UserError

UNFIT = (OmegaConfBaseException, OverflowError)  # what OmegaConf raises for a value that does not fit its key


def check(config: Config) -> list[str]:
    """Everything in a typed configuration that cannot work, one line for each fault; empty if all is well."""
    unusual = check_lists(config) or check_numbers(config)
    return unusual or [fault for check_part in CHECKS for fault in check_part(config)]


def checked(composed: DictConfig) -> Config:
    """A composed configuration as the schema's dataclasses, with every check passed.

    It is merged as plain data into a fresh schema, since `+key=value` gets past the schema while Hydra composes.

    Raises:
        UserError: with every fault, one line each.
    """
    try:
        config = typed(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.to_container(composed)))
    except UNFIT as error:
        raise UserError(key_and_reason(error)) from error
    if faults := check(config):
        raise UserError(*faults)
    return config


def typed(config: DictConfig | ListConfig) -> Config:
    """`as_objects`, with the classes that the folder names and the background resolved; values are not checked.

    Raises:
        OmegaConfBaseException, OverflowError: a value is missing or too large, or an interpolation cannot be resolved.
        UserError: the `dataset.yaml` of the folder cannot be used.
    """
    result = as_objects(config)
    return replace(result, dataset=with_background(with_dataset_file(result.dataset, list(VOC_NAMES))))


def as_objects(config: DictConfig | ListConfig) -> Config:
    """A merged configuration as the schema's dataclasses.

    Raises:
        OmegaConfBaseException, OverflowError: a value is missing or too large, or an interpolation cannot be resolved.
    """
    result = OmegaConf.to_object(config)
    assert isinstance(result, Config)
    return result


# Messages of Hydra and OmegaConf, and the same in words for people who know neither.
REWORDED = (
    (r"^Value '(.*)' of type '\w+' could not be converted to Integer$", r"a whole number expected, not '\1'"),
    (r"^Value '(.*)' of type '\w+' could not be converted to Float$", r"a number expected, not '\1'"),
    (r"^Value '(.*)' is not a valid bool \(type \w+\)$", r"true or false expected, not '\1'"),
    (r"^int too large to convert to float$", "a number of at most 308 digits expected"),
    (r"^field '\w+' is not Optional$", "it cannot be null"),
    (r"^Invalid value assigned: \w+ is not a ListConfig, list or tuple\.$", "a list expected, such as '[0.5,2]'"),
    (
        r"^Ambiguous value for argument '(\S+?)=(.*?)' 1\. .*$",
        r"\1=\2: several values are a sweep, python run.py -m '\1=\2' …; a list is written '\1=[\2]', and a text with "
        r"""commas '\1="\2"'""",
    ),
)


def key_and_reason(error: BaseException) -> str:
    """The key that a Hydra or OmegaConf error is about, if it names one, and what is wrong, as one line."""
    return ": ".join(part for part in (getattr(error, "full_key", None), reason(error)) if part)


def reason(error: BaseException) -> str:
    """What a Hydra or OmegaConf error says is wrong, as one line."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(cause).partition("Config search path")[0].splitlines()]
    details = ("full_key", "object_type", "reference_type")  # lines about OmegaConf's own objects
    message = " ".join(line for line in lines if line and not line.startswith(details))
    for pattern, words in REWORDED:
        message = re.sub(pattern, words, message)
    return message
