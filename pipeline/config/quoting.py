"""Overrides that Hydra's grammar refuses: what to type instead, in a POSIX shell."""

import re
import shlex
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

SPECIAL = "with special characters is quoted, twice for the shell"


def syntax_fault(text: str) -> str:
    """What is wrong with an override that Hydra cannot parse, and how it is typed, if it is clear what it means."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip("+~"):
        return f"{text}: key=value expected"
    if value.startswith("["):
        return f"{text}: {_list_fault(key, value)}"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]  # the quotes were meant as such
    return f"{text}: a value {SPECIAL}: {shlex.quote(f'{key}={quoted(value)}')}"


def quoted(value: str) -> str:
    """A text as Hydra reads it unchanged: in quotes, where it needs them; `${` begins no interpolation then."""
    if _reads_as(value, value):
        return value
    mark = "'" if '"' in value and "'" not in value else '"'
    # A backslash is doubled where it would belong to what follows it: an interpolation, or a quote.
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    escaped = re.sub(rf"(\\*){mark}", rf"\1\1\\{mark}", escaped)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"{mark}{escaped}{mark}"


def _list_fault(key: str, value: str) -> str:
    """What to type for a list whose elements have to be quoted, or that the shell cut at a space."""
    if not value.endswith("]"):
        return f"a list is written without spaces, and quoted for the shell: '{key}=[a,b]'"
    elements = [element.strip().strip("\"'") for element in value[1:-1].split(",")]
    listed = ",".join(quoted(element) for element in elements)
    return f"an element {SPECIAL}: {shlex.quote(f'{key}=[{listed}]')}"


def _reads_as(written: str, value: str) -> bool:
    """Whether Hydra reads what is written in a list as this text, without quotes."""
    try:
        parsed: Any = OverridesParser.create().parse_override(f"key=[{written}]").value()
        read = OmegaConf.to_container(OmegaConf.create({"key": parsed}), resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError):  # ValueError: a number of thousands of digits
        return False
    return bool(read == {"key": [value]})
