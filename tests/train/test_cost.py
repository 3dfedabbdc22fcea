"""What training takes: operations counted by hand, memory that grows with the batch, and what is refused."""

from collections.abc import Callable

import pytest

from pipeline.config.overrides import checked_config
from pipeline.model.build import build_network
from pipeline.runtime.errors import UserError
from pipeline.train import cost
from pipeline.train.cost import TrainingCost, require_memory, training_cost

GIB = 2**30


def cost_of(*overrides: str) -> TrainingCost:
    config = checked_config(["image_size=32", "long_side=32", "precision=float32", *overrides])
    return training_cost(build_network(config), config)


def test_operations_of_a_small_network_by_hand() -> None:
    """Depth 1, width 2, 8 classes, 32 px: products of each convolution, its places times the weights of its kernel."""
    found = cost_of("model.depth=1", "model.width=2", "model.upsampling=bilinear")
    full, half = 32 * 32, 16 * 16
    encoder = full * 9 * (3 * 2 + 2 * 2) + half * 9 * (2 * 4 + 4 * 4)
    decoder = half * 1 * 4 * 2 + full * 9 * (4 * 2 + 2 * 2) + full * 1 * 2 * 8
    assert found.flop_per_image == 3 * 2 * (encoder + decoder)


def test_transposed_convolutions_count_at_their_input() -> None:
    """As published for a U-Net like this one: 72.7 GFLOP an image of 256 px at depth 4, width 32 and 21 classes."""
    found = cost_of("model.depth=4", "model.width=32", "image_size=256", "model.upsampling=transposed")
    assert found.flop_per_image == pytest.approx(72.7e9, rel=0.02)


def test_a_frozen_encoder_costs_less() -> None:
    encoder = ("model=unet_mobilenet_v2", "model.encoder_weights=x.npz", "model.depth=2", "model.width=4")
    trained, frozen = cost_of(*encoder), cost_of(*encoder, "optimizer.encoder_rate=0")
    assert frozen.flop_per_image < trained.flop_per_image
    assert frozen.bytes_per_image < trained.bytes_per_image
    assert frozen.parameters == trained.parameters


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """left(gib) sets the memory that is left, of which half is swap, in a process that has 1 GiB."""
    monkeypatch.setattr(cost, "_used_here", lambda: GIB)

    def set_left(gib: float) -> None:
        monkeypatch.setattr(cost, "available_memory", lambda: gib * GIB / 2)
        monkeypatch.setattr(cost.psutil, "swap_memory", lambda: type("Swap", (), {"free": gib * GIB / 2}))

    return set_left


def test_a_batch_that_cannot_fit_is_refused(left: Callable[[float], None]) -> None:
    known = TrainingCost(10, 1.0, bytes_per_image=GIB, bytes_in_any_case=cost.COMPILED)
    config = checked_config(["batch_size=16"])
    left(8.7)
    require_memory(known, config)  # it certainly takes 9.6 GB, though 16 are estimated
    left(8.5)
    with pytest.raises(UserError) as raised:
        require_memory(known, config)
    assert raised.value.faults == (
        "batch_size=16: training takes about 16.1 GB more than now, and 8.5 GB are left for this process; at most 8 "
        "expected",
    )
    require_memory(known, checked_config(["batch_size=8"]))
    left(0.5)
    with pytest.raises(UserError, match="a smaller image_size or network expected"):
        require_memory(known, checked_config(["batch_size=4"]))
