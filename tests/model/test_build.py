"""Networks of a configuration, and stored weights, which may be hostile, loaded into them."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.model.build import build_network, load_network, renew_network
from pipeline.model.weights import named_weights, weights_sha256
from pipeline.runtime.errors import UserError


@pytest.fixture(scope="module")
def config() -> Config:
    return checked_config(["model.depth=1", "model.width=2", 'dataset.classes=[a,b,"Büsche"]', "threads=2"])


def test_recorded_weights_are_loaded(config: Config, tmp_path: Path) -> None:
    arrays = {name: values + 1 for name, values in named_weights(build_network(config)).items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    loaded = named_weights(load_network(config, tmp_path / "weights.npz", weights_sha256(arrays)))
    assert loaded.keys() == arrays.keys()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)


def test_weights_of_another_hash_shape_or_name_are_refused(config: Config, tmp_path: Path) -> None:
    arrays = named_weights(build_network(config))
    bias = arrays["logits/bias"]
    variants = {
        "missing weights 'logits/bias'": {name: value for name, value in arrays.items() if name != "logits/bias"},
        "unexpected weights 'more/kernel'": {**arrays, "more/kernel": bias},
        "'logits/bias' are float64": {**arrays, "logits/bias": bias.astype(np.float64)},
        "but the network has float32 (3,)": {**arrays, "logits/bias": bias[:2]},
    }
    for message, changed in variants.items():
        np.savez(tmp_path / "weights.npz", **changed)
        with pytest.raises(UserError) as error:
            load_network(config, tmp_path / "weights.npz", weights_sha256(changed))
        assert message in str(error.value)
        with pytest.raises(UserError, match=f"but the run recorded {weights_sha256(arrays)}"):
            load_network(config, tmp_path / "weights.npz", weights_sha256(arrays))


def test_an_encoder_rate_of_0_freezes_the_encoder() -> None:
    frozen = build_network(checked_config(["model=unet_efficientnet_lite0", "optimizer.encoder_rate=0"]))
    layers = {variable.path.partition("/")[0] for variable in frozen.trainable_variables}
    assert {layer.partition("_")[0] for layer in layers} == {"decoder", "logits"}


def test_the_network_is_a_function_of_the_configuration(config: Config) -> None:
    first, second = (weights_sha256(named_weights(build_network(config))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "model",
    [
        ("model.norm=group", "model.upsampling=transposed"),
        ("model.dropout=0.5", "model.logits=every_level"),
        *((f"model=unet_{encoder}",) for encoder in ("efficientnet_lite0", "mobilenet_v2", "vgg16")),
    ],
    ids=lambda model: model[0],
)
def test_a_renewed_network_is_a_new_one_of_its_seed(model: tuple[str, ...]) -> None:
    size = ["model.depth=2", "model.width=2", "model.encoder_weights=null"]
    network, new = (build_network(checked_config([*model, *size, f"seed={seed}"])) for seed in (0, 1))
    for variable in network.variables:
        variable.assign(variable + 1)
    renew_network(network, checked_config([*model, *size, "seed=1"]))
    for variable, expected in zip(network.variables, new.variables, strict=True):
        assert np.array_equal(variable, expected), variable.path
