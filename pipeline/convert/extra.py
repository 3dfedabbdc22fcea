"""Packages that only some sources need."""

import importlib
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError


def import_extra(name: str, path: Path) -> Any:
    """A package of the extra `convert`.

    Args:
        path: the file that needs it, for the message.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{path}: needs the package {name.split('.')[0]}; install it: pip install -c constraints.txt -e '.[convert]'"
        ) from error
