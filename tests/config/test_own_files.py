"""A user's own YAML files: composed as Hydra promises, checked like the command line; what cannot work is refused."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from pipeline.config.hydra_files import OwnFiles, groups, use_own_files
from pipeline.config.overrides import checked_config
from pipeline.config.own_files import find_own_files, flag_faults
from pipeline.config.schema import Config
from pipeline.runtime.errors import UserError
from pipeline.sweep.command import sources_and_defaults, sweep_name
from tests.configs import DEFAULT

GLOBAL = "# @package _global_\n"
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """A function that writes a file into a folder of the user's, which is used until the test ends."""
    folder = tmp_path / "my conf ü%20"

    def write(name: str, content: str) -> Path:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    yield write
    use_own_files(OwnFiles())


def composed(*arguments: str) -> Config:
    """The configuration of a command line with Hydra's flags."""
    flags = get_args_parser().parse_args(list(arguments))
    own, faults = find_own_files(flags)
    use_own_files(own)
    faults = [*flag_faults(flags, stored=False), *faults]
    if faults:
        raise UserError(*faults)
    return checked_config(flags.overrides)


def refused(*arguments: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        composed(*arguments)
    return list(raised.value.faults)


def test_files_of_own_folders_are_choices(write: Write) -> None:
    mine = "defaults:\n- override /model: tiny\nepochs: 3\n"
    place = write("experiment/mine.yaml", GLOBAL + mine).parent.parent
    write("model/tiny.yaml", "defaults: [unet]\ndepth: 1\n")
    write("model/sub/flat.yaml", "# @package model\ndefaults: [/model/unet@_here_]\ndepth: 2\n")
    write("site/here.yaml", GLOBAL + "data_dir: /big\n")
    config = composed("--config-dir", str(place), "experiment=mine", "+site=here")
    assert (config.epochs, config.model.depth, config.data_dir) == (3, 1, "/big")
    assert config.model.norm == DEFAULT.model.norm
    assert composed("-cd", str(place), "model=sub/flat").model.depth == 2
    assert {"tiny", "unet", "sub/flat"} <= set(groups()["model"])
    for path in (f"file://{place}", str(place)):
        assert composed(f'hydra.searchpath=["{path}"]', "model=tiny").model.depth == 1
    assert refused("-cd", str(place), "site=here")[0].endswith("; +site=here expected")
    assert composed() == DEFAULT


def test_own_primary_file(write: Write) -> None:
    place = write("mine.yaml", "defaults: [config, _self_]\nepochs: 3\n").parent
    assert composed("-cd", str(place), "-cn", "mine").epochs == 3
    assert composed("-cd", str(place), "-cn", "mine", "epochs=4").epochs == 4
    named = sweep_name(DEFAULT, ["seed=1,2"])
    assert str(place / "mine.yaml").rpartition("/")[2] in " ".join(sources_and_defaults())
    use_own_files(OwnFiles())
    assert sweep_name(DEFAULT, ["seed=1,2"]) != named  # another sweep
    write("alone.yaml", "epochs: 3\n")
    assert refused("-cd", str(place), "-cn", "alone") == [
        f"{place}/alone.yaml: its defaults list does not start with config; 'defaults: [config, _self_]' expected"
    ]
    assert refused("-cd", str(place), "-cn", "min")[0].endswith("(did you mean 'mine'?)")


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ("epochz: 3\n", ["FILE: unknown key 'epochz' (did you mean 'epochs'?)"]),
        ("model: {widht: 3}\n", ["FILE: unknown key 'model.widht' (did you mean 'model.width'?)"]),
        ("model: {depth: many}\n", ["FILE: model.depth=many: a whole number expected, not 'many'"]),
        ("epochs: -3\n", ["epochs=-3: at least 1 expected (in FILE)"]),
        (f"epochs: {'9' * 400}\n", ["epochs: a whole number of 1329 bits; at most 63 expected (in FILE)"]),
        (
            f"optimizer: {{learning_rate: {'9' * 400}}}\n",
            [f"FILE: optimizer.learning_rate={'9' * 400}: a number of at"],
        ),
        (f"epochs: {'9' * 5000}\n", ["FILE: cannot be read: Exceeds the limit (4300 digits)"]),
        ("a: 1\nb: 2\n", ["FILE: unknown key 'a'", "FILE: unknown key 'b'"]),
        ("epochs: [3\n", ['FILE: cannot be read as YAML: while parsing a flow sequence in "FILE", line 2, column 9']),
        ("- 3\n", ["FILE: cannot be read: keys with values expected"]),
        ("data_dir: ${nowhere}\n", ["data_dir: Interpolation key 'nowhere' not found"]),
        ("hydra: {job: {chdir: true}}\n", ["hydra.job.chdir=true: a configuration's paths belong to the current"]),
        (
            "defaults: [{override /model: nosuch}]\n",
            ["experiment=mine: In 'config': Could not find 'model/nosuch'"],
        ),
    ],
)
def test_faults_of_a_file_name_it(write: Write, content: str, faults: list[str]) -> None:
    file = write("experiment/mine.yaml", GLOBAL + content)
    found = refused("-cd", str(file.parent.parent), "experiment=mine")
    assert len(found) == len(faults)
    for fault, expected in zip(found, faults, strict=True):
        assert fault.startswith(expected.replace("FILE", str(file)))


def test_every_swept_file_is_checked(write: Write) -> None:
    place = write("experiment/good.yaml", GLOBAL + "epochs: 2\n").parent.parent
    write("experiment/bad.yaml", GLOBAL + "hydra: {job: {chdir: true}}\n")
    assert refused("-m", "-cd", str(place), "experiment=good,bad")[0].startswith("hydra.job.chdir=true: ")


def test_an_override_corrects_a_value_of_a_file(write: Write) -> None:
    file = write("experiment/mine.yaml", GLOBAL + "epochs: -3\n")
    assert composed("-cd", str(file.parent.parent), "experiment=mine", "epochs=2").epochs == 2
    assert refused("-cd", str(file.parent.parent), "experiment=mine", "epochs=-2") == ["epochs=-2: at least 1 expected"]


def test_incomplete_files(write: Write) -> None:
    place = write("model/mine.yaml", "depth: 2\n").parent.parent
    assert refused("-cd", str(place), "model=mine")[0].endswith(
        "model.width: no value; a file of conf/model/ expected in the defaults list of its file"
    )
    write("experiment/mine.yaml", "epochs: 2\n")
    assert "its first line has to be: # @package _global_" in refused("-cd", str(place), "experiment=mine")[0]


def test_files_that_hydra_would_not_read(write: Write) -> None:
    same, ending = write("model/unet.yaml", "depth: 2\n"), write("model/mine.yml", "depth: 2\n")
    assert refused("-cd", str(same.parent.parent)) == [
        f"{ending}: Hydra reads .yaml only; rename it to mine.yaml",
        f"{same}: conf/model/unet.yaml has the same name, and would be used; give it another name",
    ]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--config-dir", "nowhere"], "--config-dir=nowhere: folder not found; a folder of YAML files expected"),
        (["hydra.searchpath=[pkg://os]"], "hydra.searchpath=pkg://os: folder not found; a folder of YAML files"),
        (["--config-path", "x"], "--config-path=x: would replace conf/, .* --config-dir=x adds a folder to it"),
        (["--experimental-rerun", "x"], "--experimental-rerun=x: reads a pickle, .*; rerun=<run id> repeats a run"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: .* change it before: cd <folder>"),
        (["hydra.output_subdir=x"], "hydra.output_subdir=x: Hydra would write passwords"),
        (["hydra.mode=MULTIRUN"], "hydra.mode=MULTIRUN: decided by the flag: -m before the overrides starts a sweep"),
        (["+hydra.callbacks.x._target_=os.system"], "hydra.callbacks=.*: a configuration calls no code; "),
        (["hydra.sweeper._target_=os.system"], "hydra.sweeper._target_=os.system: a configuration calls no code; "),
        (["hydra.launcher._target_=os.system"], "hydra.launcher._target_=os.system: a configuration calls no code; "),
    ],
)
def test_what_cannot_work_is_refused(arguments: list[str], fault: str) -> None:
    (found,) = refused(*arguments)
    assert re.match(fault, found)


@pytest.mark.parametrize("override", ["hydra.run.dir=x", "hydra.verbose=true", "hydra/job_logging=none"])
def test_settings_of_hydra_that_work(override: str) -> None:
    assert composed(override) == DEFAULT


def test_a_stored_configuration_has_no_other_primary_file() -> None:
    flags = get_args_parser().parse_args(["-cn", "mine"])
    assert flag_faults(flags, stored=True) == [
        "--config-name=mine: rerun= and resume= start from the run's configuration"
    ]
