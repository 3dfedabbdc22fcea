"""The imports of the package's files, read off their syntax."""

import ast
from collections.abc import Iterator
from pathlib import Path

from pipeline.runtime.files import ROOT


def module_of(path: Path) -> str:
    """`pipeline.tracking.store` for a file of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported as soon as the file is) for every import of a file, wherever it stands.

    `from a import b` gives `a.b` where that is a module of the package, else `a`; what only a type checker imports is
    left out.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typing_only = {inner for node in tests for inner in ast.walk(node)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    later = {inner for node in functions for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if _is_module(inner) else str(node.module)), node not in later


def _is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return name.startswith("pipeline.") and (place.is_dir() or place.with_suffix(".py").is_file())
