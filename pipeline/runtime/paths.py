"""Paths as people type them. It imports the standard library alone, since every logged model needs it to load."""

from pathlib import Path

from pipeline.runtime.errors import UserError


def typed_path(key: str, path: str) -> Path:
    """The path that a key was given, with `~` and `~<user>` replaced by a home folder.

    Raises:
        UserError: there is no such user, or no file can have this name.
    """
    if "\0" in path:
        raise UserError(f"{key}={path}: a path without the character NUL expected")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise UserError(
            f"{key}={path}: {user} is not the home folder of a user of this machine; ./{path} expected for a folder of "
            "this name, or an absolute path"
        ) from error
