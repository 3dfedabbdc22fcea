"""The documentation: its links, commands, keys, names of files and figures are those of the project."""

import ast
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.hydra_files import CONF, compose_overrides, groups
from pipeline.config.keys import leaves
from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.runtime.files import ROOT
from pipeline.runtime.text import nearest

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINEAGE = {"rerun", "rerun_strict", "resume"}  # taken from the command line before Hydra composes
N_TRIALS = "hydra.sweeper.n_trials"  # Optuna's sweeper knows it, which is registered when a sweep starts

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCED.sub("", text_of(page))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- links


@each_page
def test_every_relative_link_and_anchor_resolves(page: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        linked = (page.parent / place).resolve() if place else page
        if not linked.exists() or (anchor and anchor not in anchors_of(linked)):
            missing.append(target)
    assert missing == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(README.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", text_of(README))}
    assert [page.name for page in PAGES if page != README and page not in linked] == []


def test_the_readme_has_at_most_180_lines() -> None:
    assert len(text_of(README).splitlines()) <= 180


# ---- commands


def commands_of(page: Path) -> Iterator[str]:
    """The lines of the page's shell blocks, and the commands within its sentences."""
    for language, block in FENCED.findall(text_of(page)):
        if language == "sh":
            yield from block.replace("\\\n", " ").splitlines()
    for span in INLINE.findall(prose_of(page)):
        if re.match(r"(\.venv/bin/)?python (run\.py|-m (pipeline|tests)\b)", span):
            yield span


def words_of(command: str) -> list[str]:
    """The words of a command up to a redirection; a placeholder such as `<run id>` becomes the word `run-id`."""
    command = re.sub(r"<([^<>]+)>", lambda match: match[1].replace(" ", "-"), command)
    words = shlex.split(command, comments=True)
    return words[: words.index(">")] if ">" in words else words


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands_of(page)))
RUNS = [command for command in COMMANDS if re.match(r"(\.venv/bin/)?python run\.py\b", command)]
TOOLS = [command for command in COMMANDS if re.match(r"(\.venv/bin/)?python -m (pipeline|tests)\b", command)]


def test_the_readme_begins_with_the_default_job_and_the_tests() -> None:
    """Its first two shell blocks are run in a fresh clone."""
    job, tests, *_ = [block for language, block in FENCED.findall(text_of(README)) if language == "sh"]
    assert job.splitlines()[-1] == ".venv/bin/python run.py"
    assert tests.splitlines()[-1] == ".venv/bin/python -m pytest -q"


@pytest.mark.parametrize("command", RUNS)
def test_every_run_command_composes_and_is_valid(command: str) -> None:
    words = words_of(command)[2:]
    if "-sc" in words:  # shell completion
        return
    for flag in ("-m", "--help", "--cfg", "job"):
        words = [word for word in words if word != flag]
    stored = any(word.startswith(("rerun=", "resume=run")) for word in words)
    overrides = [word for word in words if word.partition("=")[0] not in {*LINEAGE, N_TRIALS} and word != "..."]
    assert checked_config(overrides, checked_config([]) if stored else None)


def help_of(module: str) -> str:
    """The `--help` text of a command, read without importing the module."""
    place = ROOT / module.replace(".", "/")
    file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    for node in ast.parse(text_of(file)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HELP":
            return str(ast.literal_eval(node.value))
    return ast.get_docstring(ast.parse(text_of(file))) or ""


@pytest.mark.parametrize("command", TOOLS)
def test_every_tool_command_has_known_keys(command: str) -> None:
    module, *arguments = words_of(command)[2:]
    known = help_of(module)
    keys = [argument.partition("=")[0] for argument in arguments if "=" in argument]
    keys += [argument for argument in arguments if argument.startswith("--")]
    assert [key for key in keys if key not in known and not key.startswith("dataset.")] == []


def known_keys() -> set[str]:
    """Everything that may stand before `=` in the documentation."""
    keys = {name for name, _, _ in leaves(Config)}
    sections = {name.rpartition(".")[0] for name in keys} - {""}
    arguments = {
        key
        for path in (ROOT / "pipeline").rglob("*.py")
        for key in re.findall(r"^([a-z][\w.]*)=\S", text_of(path), re.MULTILINE)
    }
    return {*keys, *sections, *groups(), *arguments, *LINEAGE, N_TRIALS, "hydra/launcher"}


@each_page
def test_every_key_that_a_sentence_names_exists(page: Path) -> None:
    """Inline code such as `model.depth=3`, also `depth` alone in a table after its group."""
    known = known_keys()
    short = {name.rpartition(".")[2] for name in known}
    found = [match[1] for span in INLINE.findall(prose_of(page)) if (match := re.match(r"([a-z][\w./]*)=", span))]
    assert [f"{key}{nearest(key, sorted(known))}" for key in found if key not in known | short] == []


def test_every_choice_of_conf_is_in_the_configuration_page() -> None:
    page = text_of(ROOT / "docs" / "configuration.md")
    choices = {choice for listed in groups().values() for choice in listed}
    assert [choice for choice in sorted(choices) if f"`{choice}`" not in page] == []
    launchers = {file.stem for file in (CONF / "hydra" / "launcher").glob("*.yaml")}
    assert [name for name in sorted(launchers) if f"`{name}`" not in text_of(ROOT / "docs" / "sweeps.md")] == []


def test_the_default_of_a_key_is_the_one_in_the_data_page() -> None:
    composed = compose_overrides(["dataset=folder"])
    rows = re.findall(r"^\| `(dataset\.[\w.]+)` \| `(\w[\w.]*)` \|", text_of(ROOT / "docs" / "data.md"), re.MULTILINE)
    assert len(rows) == 5
    for key, default in rows:
        value = composed
        for part in key.split("."):
            value = value[part]
        assert str("null" if value is None else value) == default, key


# ---- files, tests and figures


@each_page
def test_every_file_and_test_that_is_named_exists(page: Path) -> None:
    missing = []
    for span in INLINE.findall(text_of(page)):
        match = re.fullmatch(r"((?:pipeline|tests|conf|docs)/[\w./]*)(?:::(\w+))?", span)
        if not match:
            continue
        place, name = ROOT / match[1], match[2]
        defined = rf"^\s*(async )?(def|class) {name}\b|^{name}\b.* = "
        if not place.exists() or (name and not re.search(defined, text_of(place), re.MULTILINE)):
            missing.append(span)
    assert missing == []


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(r"^\|.*\d.*\|$", id="rows of tables"),
        pytest.param(r"\d\.\d+ ± \d\.\d+", id="means and deviations"),
        pytest.param(r"\d[\d.]* (?:crops|images)/s", id="rates"),
    ],
)
def test_a_figure_stands_in_one_document(figures: str) -> None:
    places = Counter(figure for page in PAGES for figure in set(re.findall(figures, text_of(page), re.MULTILINE)))
    assert [figure for figure, count in places.items() if count > 1] == []


def test_only_documents_of_the_project_are_checked() -> None:
    """Every Markdown file that git tracks is one of the pages."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert {ROOT / name for name in listed.stdout.split()} <= set(PAGES)
