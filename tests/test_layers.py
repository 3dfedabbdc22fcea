"""Who may import whom: the floors of docs/architecture.md, read off every import statement."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.files import PACKAGE, ROOT
from tests.imports import imports_of, module_of

# From the ground up. A file uses its own folder and the floors below it, no other folder of its own floor.
FLOORS = (
    ("runtime",),
    ("config",),
    ("data",),
    ("model",),
    ("tracking",),
    ("evaluate",),
    ("train", "compare", "convert"),
    ("experiment",),
    ("sweep",),
    ("export", "look", "predict", "register", "runs", "sync"),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def folder_of(module: str) -> str:
    """`tracking` for pipeline.tracking.store, `sync` for pipeline.sync."""
    return module.split(".")[1]


def test_every_folder_has_a_floor() -> None:
    found = {path.stem for path in PACKAGE.glob("[!_]*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    assert found == set(FLOOR)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent != PACKAGE or path.stem != "__init__"], ids=module_of
)
def test_no_import_points_upward(path: Path) -> None:
    own = folder_of(module_of(path))
    used = {folder_of(name) for name, _ in imports_of(path) if name.startswith("pipeline.")} - {own}
    assert {name for name in used if FLOOR[name] >= FLOOR[own]} == set()


def test_no_modules_import_each_other() -> None:
    """Looked for among the imports at the top of files: one within a function waits until the function is called."""
    graph = {module_of(path): {name for name, at_once in imports_of(path) if at_once} for path in FILES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' -> '.join((*above[above.index(module) :], module))}"
        if module in done or module not in graph:
            return
        for used in sorted(graph[module]):
            visit(used, (*above, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_only_tracking_imports_mlflow() -> None:
    using = {path for path in FILES if any(name.partition(".")[0] == "mlflow" for name, _ in imports_of(path))}
    assert {path.relative_to(PACKAGE).parts[0] for path in using} == {"tracking"}


def test_config_and_runtime_load_neither_tensorflow_nor_mlflow() -> None:
    """`run.py --help` and every fault of a configuration come before the seconds that these take."""
    modules = [module_of(path) for folder in ("config", "runtime") for path in sorted((PACKAGE / folder).rglob("*.py"))]
    code = f"import sys, {', '.join(modules)}; print(sorted({{'tensorflow', 'keras', 'mlflow'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
