"""A stored configuration, which may be hostile, becomes a checked one, and the base of further overrides."""

import dataclasses
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.config import hydra_files, stored, validation
from pipeline.config.hydra_files import CONF, compose_overrides, groups
from pipeline.config.keys import flatten
from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.config.stored import parse_config, read_config
from pipeline.runtime.errors import UserError


@pytest.fixture(scope="module")
def config() -> Config:
    """Very different from that of conf/."""
    return checked_config(
        [
            "model.depth=1", "model.width=2", 'dataset.classes=[a,b,"Büsche"]', "threads=2", "optimizer=sgd",
            "optimizer.momentum=0.5", "schedule=poly", "epochs=37", "tracking.run_name='a, \"b\" = c'",
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def text(config: Config) -> str:
    """The configuration as a run stores it."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


# ---- from a file


def test_it_is_read_back_unchanged(config: Config, text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert read_config(tmp_path / "config.yaml") == config == parse_config(text, "here")


@pytest.mark.parametrize("override", ["dataset=voc2012", "optimizer=adamw", "experiment=classic"])
def test_a_choice_of_conf_is_read_back_unchanged(override: str) -> None:
    config = checked_config([override])
    assert parse_config(OmegaConf.to_yaml(OmegaConf.structured(config)), "here") == config


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("data_dir: data", "data_dir: ${oc.env:HOME}", "plain keys and values expected, no '${'"),
        ("data_dir: data", r'data_dir: "\x24{oc.env:HOME}"', "plain keys and values expected, no '${'"),
        ("data_dir: data", r'data_dir: "\u0024\x7boc.env:HOME}"', "plain keys and values expected, no '${'"),
        ("data_dir: data", '"${oc.env:HOME}": data', "plain keys and values expected, no '${'"),
        ("data_dir: data", "data_dir: &a data\nx: *a", "is not a stored configuration"),
        ("data_dir: data", "data_dir: !!python/object/apply:os.getcwd []", "is not a stored configuration"),
        ("data_dir: data", "data_dir: !!binary aGFsbG8=", "is not a stored configuration"),
        ("data_dir: data", "data_dir: {data", "cannot be read as a stored configuration"),
        ("data_dir: data", "data_dir: data\n_target_: os.system", "_target_"),
        ("data_dir: data", "data_dir: data\nhydra: {run: {dir: /tmp}}", "hydra"),
        ("data_dir: data", "data_dir: data\ndefaults: [/dataset: voc2012]", "defaults"),
        ("data_dir: data", "data_dir: data\nrerun: abc", "rerun"),
        ("data_dir: data", "data_dir: 2020-01-01", "cannot be read as a stored configuration"),
        ("  depth: 1", "  depth: 1\n  _target_: os.system", "_target_"),
        ("  depth: 1", "  deepth: 1", "deepth"),
        ("  depth: 1", "  depth: one", "model.depth: a whole number expected, not 'one'"),
        ("  depth: 1", "  depth: 99", "model.depth=99: at least 1 and at most 8 expected"),
        ("  depth: 1", f"  depth: {'9' * 400}", "model.depth: a whole number of 1329 bits; at most 63 expected"),
        ("  depth: 1", f"  depth: 0x{'f' * 5000}", "cannot be read as a stored configuration"),
        ("  depth: 1", f"  depth: {'9' * 5000}", "cannot be read as a stored configuration"),
        ("  dropout: 0.0", f"  dropout: {'9' * 400}", "config.yaml: a number of at most 308 digits expected"),
        ("  depth: 1", "  depth: null", "depth"),
        ("  depth: 1", "  depth: ???", "depth"),
        ("data_dir: data", 'data_dir: "a\\x1b[2Jb"', "text without control characters expected"),
    ],
)
def test_a_manipulated_configuration_is_refused(
    text: str, tmp_path: Path, before: str, after: str, message: str
) -> None:
    path = tmp_path / "config.yaml"
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_config(path)
    assert message in str(error.value)
    assert all(fault.startswith(f"{path}: ") and "\n" not in fault for fault in error.value.faults)


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"text", b"\xff\xfe\x00", b"\x00", b"[" * 20000, b"a: 2020-01-01\nb: 1e999\n"]
)
def test_content_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError):
        read_config(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="cannot be read as a stored configuration"):
        read_config(tmp_path / "missing.yaml")


def test_a_large_file_is_not_read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(stored, "MAX_BYTES", path.stat().st_size)
    assert read_config(path)
    monkeypatch.setattr(stored, "MAX_BYTES", path.stat().st_size - 1)
    monkeypatch.setattr(stored.yaml, "parse", lambda _: pytest.fail("it was read"))
    with pytest.raises(UserError, match="cannot be read as a stored configuration: more than"):
        read_config(path)


def test_an_older_configuration_gets_defaults_of_new_keys(config: Config, text: str) -> None:
    """If the schema has defaults for them; a missing key without a default is named."""
    older = yaml.safe_load(text)
    del older["checkpoint"], older["seed"]
    expected = dataclasses.replace(config, checkpoint=Config().checkpoint, seed=Config().seed)
    assert parse_config(yaml.safe_dump(older), "here") == expected
    del older["epochs"]
    with pytest.raises(UserError, match=r"^here: .*epochs"):
        parse_config(yaml.safe_dump(older), "here")


def test_what_a_run_did_before_the_keys_of_pixels(config: Config, text: str) -> None:
    """EXIF orientations were ignored, and 16 bits cut to the high byte; stored values are as they are."""
    older = yaml.safe_load(text)
    del older["dataset"]["exif"], older["dataset"]["intensity"], older["kernels"]
    found = parse_config(yaml.safe_dump(older), "here")
    assert (config.dataset.exif, config.dataset.intensity) == ("refuse", None)
    assert (config.kernels, found.kernels) == ("auto", "tensorflow")
    assert (found.dataset.exif, found.dataset.intensity) == ("ignore", [127.5, 65407.5])
    assert parse_config(OmegaConf.to_yaml(OmegaConf.structured(found)), "here") == found
    as_now = dataclasses.replace(found.dataset, exif="refuse", intensity=None)
    assert dataclasses.replace(found, dataset=as_now, kernels="auto") == config == parse_config(text, "here")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab?${}:-\x1b", max_size=4)


@settings(max_examples=30)
@given(
    st.sampled_from(list(flatten(checked_config([])))),
    st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=2)),
    st.booleans(),
)
def test_any_content_is_a_checked_value_or_a_fault(text: str, key: str, value: Any, whole: bool) -> None:
    *sections, last = key.split(".")
    changed = place = yaml.safe_load(text)
    for section in sections[: -1 if whole and sections else None]:
        place = place[section]
    place[sections[-1] if whole and sections else last] = value
    try:
        found = parse_config(yaml.safe_dump(changed), "here")
    except UserError as error:
        assert all(fault.startswith("here: ") and "\n" not in fault for fault in error.faults)
        return
    # A configuration that was accepted can be stored and read again.
    assert parse_config(OmegaConf.to_yaml(OmegaConf.structured(found)), "here") == found


# ---- as the base of overrides


def test_without_overrides_it_is_unchanged(config: Config) -> None:
    assert checked_config([], config) == config


def test_overrides_apply_to_it_and_to_nothing_else(config: Config) -> None:
    overrides = ["epochs=20", "model.width=4", "optimizer.ema=0.9", "dataset.splits={val: null}", "augment.scale=[1,1]"]
    found = flatten(checked_config(overrides, config))
    expected = {
        "epochs": 20, "model.width": 4, "optimizer.ema": 0.9, "dataset.splits.val": None, "augment.scale": [1.0, 1.0]
    }  # fmt: skip
    assert found == flatten(config) | expected


def test_the_base_is_not_modified(config: Config) -> None:
    before = flatten(config)
    checked_config(["epochs=20", "dataset.classes=[x,y]"], config)
    assert flatten(config) == before


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("epochz=3", "epochz=3: unknown key 'epochz' (did you mean 'epochs'?)"),
        ("model.dept=3", "model.dept=3: unknown key 'model.dept' (did you mean 'model.depth'?)"),
        ("+model.foo=3", "+model.foo=3: unknown key 'model.foo' (did you mean 'model.norm'?)"),
        ("epochs=ten", "epochs=ten: a whole number expected, not 'ten'"),
        ("model.depth=99", "model.depth=99: at least 1 and at most 8 expected"),
        (
            "~model.depth",
            "~model.depth: a key cannot be removed; set it to another value, or to null where --help allows it",
        ),
        ("loss=dicee", "loss=dicee: cross_entropy, cross_entropy_dice, dice or focal expected (did you mean 'dice'?)"),
        ("optimizer.name=adam", "optimizer.momentum=0.5: only optimizer=sgd has it, not adam"),
    ],
)
def test_a_mistake_is_reported_as_without_a_base(config: Config, override: str, fault: str) -> None:
    with pytest.raises(UserError) as raised:
        checked_config([override], config)
    assert fault in raised.value.faults


@pytest.mark.parametrize(
    "override", ["model=unet", "optimizer=adam", "dataset=voc2012", "tracking=server", "experiment=classic"]
)
def test_a_file_of_a_group_is_refused_and_advice_works(config: Config, override: str) -> None:
    with pytest.raises(UserError) as raised:
        checked_config([override], config)
    (fault,) = raised.value.faults
    refusal = "a stored configuration has keys, not the files of conf/ that set them; type "
    assert fault.startswith(f"{override}: {refusal}")
    advised = shlex.split(fault.partition(refusal)[2])
    found, chosen = flatten(checked_config(advised, config)), flatten(checked_config([override]))
    typed = {argument.partition("=")[0] for argument in advised}
    sections = {key.partition(".")[0] for key in typed}
    assert typed and all(found[key] == chosen[key] for key in found if key.partition(".")[0] in sections)
    untouched = {key for key in found if key.partition(".")[0] not in sections}
    assert all(found[key] == value for key, value in flatten(config).items() if key in untouched)


@pytest.mark.parametrize("name", ["one_step", "overfit"])
def test_the_advice_for_a_quick_look_keeps_the_runs_data_and_network(config: Config, name: str) -> None:
    with pytest.raises(UserError) as raised:
        checked_config([f"debug={name}"], config)
    found = checked_config(shlex.split(raised.value.faults[0].partition("; type ")[2]), config)
    assert found.dataset == dataclasses.replace(config.dataset, limit=found.dataset.limit) and found.dataset.limit
    assert found.optimizer.name == config.optimizer.name
    assert found.optimizer.learning_rate == config.optimizer.learning_rate
    assert found.epochs != config.epochs


def test_every_group_is_refused(config: Config) -> None:
    overrides = [f"{group}={names[0]}" for group, names in groups().items() if group != "sweep"]
    with pytest.raises(UserError) as raised:
        checked_config([*overrides, "sweep=grid"], config)  # a sweep is not part of what a run stored
    assert [fault.partition(":")[0] for fault in raised.value.faults] == overrides


def test_groups_are_refused_together_with_other_faults(config: Config) -> None:
    with pytest.raises(UserError) as raised:
        checked_config(["model=unet", "epochs=0", "optimizer=adam,sgd"], config)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == [
        "model=unet",
        "epochs=0",
        "optimizer=adam,sgd",
    ]


def test_a_sweep_over_a_base_is_checked(config: Config) -> None:
    assert checked_config(["seed=1,2,3"], config) == dataclasses.replace(config, seed=1)
    with pytest.raises(UserError, match=r"^seed=-1: at least 0"):
        checked_config(["seed=1,-1"], config)


def test_hydra_composes_the_same_stored_configuration(config: Config) -> None:
    """Its folders are those of this machine, never those of the run."""
    composed = compose_overrides(["epochs=20"], config)
    assert validation.checked(composed) == dataclasses.replace(config, epochs=20)


def test_a_changed_conf_does_not_matter(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other values, other files and other defaults: the stored values win."""
    shutil.copytree(CONF, tmp_path / "conf")
    for path in (tmp_path / "conf").rglob("*.yaml"):
        if path.name != "config.yaml":
            path.write_text(path.read_text().replace("depth: 4", "depth: 2").replace("rate: 2.0e-3", "rate: 0.5"))
    main = tmp_path / "conf/config.yaml"
    main.write_text(main.read_text().replace("epochs: 8", "epochs: 5").replace("augment: standard", "augment: none"))
    (tmp_path / "conf/optimizer/sgd.yaml").unlink()  # the choice that the run was made with
    before = checked_config([])
    monkeypatch.setattr(hydra_files, "CONF", tmp_path / "conf")
    today = checked_config([])
    assert (today.epochs, today.model.depth, today.optimizer.learning_rate, today.augment.flip) == (5, 2, 0.5, False)
    assert before != today
    assert checked_config([], config) == config
    assert checked_config(["epochs=20"], config) == dataclasses.replace(config, epochs=20)
    with pytest.raises(UserError, match=r"^model=unet: .*; type model\.name=unet model\.depth=2 "):
        checked_config(["model=unet"], config)
    shutil.rmtree(tmp_path / "conf/model")
    assert checked_config([], config) == config
