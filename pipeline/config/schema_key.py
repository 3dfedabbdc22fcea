"""A key of the schema: its description, its default and its bounds."""

from dataclasses import field
from typing import Any

from omegaconf import MISSING


def key(
    description: str,
    default: Any = MISSING,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with the facts that checks and the help text need.

    Args:
        description: one line that explains the key.
        choices: the values that a text may have.
        least, above, most, below: the bounds of a number: >=, >, <= and <.
    """
    metadata = {
        "description": description,
        "choices": choices,
        "least": least,
        "above": above,
        "most": most,
        "below": below,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
