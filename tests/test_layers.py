"""Who may import whom: the arrows of the design point downward."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pipeline"


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports at any place, and each name that it takes from one, which may be a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_only_tracking_talks_to_mlflow() -> None:
    talking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.partition(".")[0] == "mlflow" for name in imports_of(path))
    }
    assert talking and {name for name in talking if not name.startswith("tracking/")} == set()


@pytest.mark.parametrize(("folder", "below"), [("data", set()), ("model", {"data"})])
def test_data_and_model_know_nothing_of_training_or_tracking(folder: str, below: set[str]) -> None:
    plain = {"addresses", "config", "config_keys", "disk", "errors", "plain_text", "seeds", "weights"}
    for path in (PACKAGE / folder).glob("*.py"):
        used = {name.split(".")[1] for name in imports_of(path) if name.startswith("pipeline.")}
        assert used <= plain | {folder} | below, path
