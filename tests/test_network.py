"""A stored configuration and stored weights, which may be hostile, become a network again."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from pipeline.checkpoint import named_weights, weights_sha256
from pipeline.command_line import checked_config
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.network import build_network, load_network, read_config


@pytest.fixture(scope="module")
def config() -> Config:
    return checked_config(["model.depth=1", "model.width=2", 'dataset.classes=[a,b,"Büsche"]', "threads=2"])


def stored(config: Config, path: Path) -> str:
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    path.write_text(text, encoding="utf-8")
    return text


def test_a_stored_configuration_comes_back_as_it_was(config: Config, tmp_path: Path) -> None:
    stored(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("data_dir: data", "data_dir: ${oc.env:HOME}", "plain keys and values expected, no '${'"),
        ("data_dir: data", r'data_dir: "\x24{oc.env:HOME}"', "plain keys and values expected, no '${'"),
        ("data_dir: data", r'data_dir: "\u0024\x7boc.env:HOME}"', "plain keys and values expected, no '${'"),
        ("data_dir: data", '"${oc.env:HOME}": data', "plain keys and values expected, no '${'"),
        ("data_dir: data", "data_dir: &a data\nx: *a", "is not a stored configuration"),
        ("data_dir: data", "data_dir: !!python/object/apply:os.getcwd []", "cannot be read as a stored configuration"),
        ("data_dir: data", "data_dir: {data", "cannot be read as a stored configuration"),
        ("data_dir: data", "data_dir: data\n_target_: os.system", "_target_"),
        ("  depth: 1", "  depth: 1\n  _target_: os.system", "_target_"),
        ("  depth: 1", "  deepth: 1", "deepth"),
        ("  depth: 1", "  depth: one", "model.depth: Value 'one'"),
        ("  depth: 1", "  depth: 99", "model.depth=99: at least 1 and at most 8 expected"),
    ],
)
def test_a_configuration_that_was_changed_is_refused(
    config: Config, tmp_path: Path, before: str, after: str, told: str
) -> None:
    text = stored(config, tmp_path / "config.yaml")
    assert text.count(before) == 1
    (tmp_path / "config.yaml").write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_config(tmp_path / "config.yaml")
    assert told in str(error.value) and "\n" not in error.value.faults[0]


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"text", b"\xff\xfe\x00", b"\x00", b"[" * 20000, b"a: 2020-01-01\nb: 1e999\n"]
)
def test_what_is_no_configuration_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError):
        read_config(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="cannot be read as a stored configuration"):
        read_config(tmp_path / "missing.yaml")


def test_recorded_weights_go_into_the_network(config: Config, tmp_path: Path) -> None:
    arrays = {name: values + 1 for name, values in named_weights(build_network(config)).items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    loaded = named_weights(load_network(config, tmp_path / "weights.npz", weights_sha256(arrays)))
    assert loaded.keys() == arrays.keys()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)


def test_weights_of_another_hash_shape_dtype_or_name_are_refused(config: Config, tmp_path: Path) -> None:
    arrays = named_weights(build_network(config))
    bias = arrays["logits/bias"]
    variants = {
        "has no weights 'logits/bias'": {name: value for name, value in arrays.items() if name != "logits/bias"},
        "has weights 'more/kernel'": {**arrays, "more/kernel": bias},
        "'logits/bias' is float64": {**arrays, "logits/bias": bias.astype(np.float64)},
        "but the network has float32 (3,)": {**arrays, "logits/bias": bias[:2]},
    }
    for told, changed in variants.items():
        np.savez(tmp_path / "weights.npz", **changed)
        with pytest.raises(UserError) as error:
            load_network(config, tmp_path / "weights.npz", weights_sha256(changed))
        assert told in str(error.value)
        with pytest.raises(UserError, match=f"but the run recorded {weights_sha256(arrays)}"):
            load_network(config, tmp_path / "weights.npz", weights_sha256(arrays))


def test_the_network_is_a_function_of_the_configuration(config: Config) -> None:
    first, second = (weights_sha256(named_weights(build_network(config))) for _ in range(2))
    assert first == second
