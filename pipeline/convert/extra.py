"""Packages that only some sources need."""

import importlib
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError


def import_extra(name: str, path: Path | None = None) -> Any:
    """A package of the extra `convert`.

    Args:
        path: the file that needs it, for the message; None for a package that was imported before.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        install = "pip install -c constraints.txt -e '.[convert]'"
        raise UserError(f"{path}: needs the package {package}; install it: {install}") from error
