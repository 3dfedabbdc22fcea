"""Named weights of a network: get, set and hash them."""

import hashlib
import io
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from pipeline.model.weights import Arrays, assign, named_weights, set_weights, weights_sha256
from pipeline.runtime.errors import UserError
from tests.model.networks import small_arrays, small_network

# ---- the hash


def test_known_hash() -> None:
    """If this changes, the weights of earlier runs are no longer recognised."""
    digest = hashlib.sha256()
    digest.update(b'["encoder_0_conv_0/kernel", "float32", [2, 3]]')
    digest.update(b"".join(bytes.fromhex(f"{value:>08}") for value in ("0", "0000803f", "00000040", "00004040")))
    digest.update(bytes.fromhex("000080400000a040"))
    digest.update(b'["logits/bias", "float32", [2]]' + bytes.fromhex("0000003f0000a0bf"))
    digest.update(b'["step", "int64", []]' + bytes.fromhex("0700000000000000"))
    assert weights_sha256(small_arrays()) == digest.hexdigest()
    assert digest.hexdigest() == "eee46b57f0527d68b53babbd40cfdef568e72c83e97ccf08b7485c073ee5d358"


def test_the_hash_ignores_order_and_memory_layout() -> None:
    expected = weights_sha256(small_arrays())
    assert weights_sha256(dict(reversed(small_arrays().items()))) == expected
    other = small_arrays()
    other["encoder_0_conv_0/kernel"] = np.asfortranarray(other["encoder_0_conv_0/kernel"])
    assert weights_sha256(other) == expected
    wide = np.zeros((2, 6), np.float32)
    wide[:, ::2] = small_arrays()["encoder_0_conv_0/kernel"]
    assert weights_sha256({**other, "encoder_0_conv_0/kernel": wide[:, ::2]}) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given.pop("step"),
        lambda given: given.update({"more": np.zeros(0, np.float32)}),
        lambda given: given.update({"steps": given.pop("step")}),
        lambda given: given.update({"step": np.array(7, np.int32)}),
        lambda given: given.update({"step": np.array([7], np.int64)}),
        lambda given: given.update({"step": np.array(8, np.int64)}),
        lambda given: given.update({"logits/bias": np.array([0.5, np.nextafter(np.float32(-1.25), 0)], np.float32)}),
        lambda given: given.update({"logits/bias": given["logits/bias"].reshape(2, 1)}),
        lambda given: given.update({"logits/bias": given["logits/bias"].view(np.int32)}),
        lambda given: given.update({"encoder_0_conv_0/kernel": given["encoder_0_conv_0/kernel"].reshape(3, 2)}),
        lambda given: given.update({"encoder_0_conv_0/kernel": -0.0 * given["encoder_0_conv_0/kernel"]}),
    ],
)
def test_the_hash_covers_every_name_dtype_shape_and_bit(change: Callable[[Arrays], Any]) -> None:
    changed = small_arrays()
    change(changed)
    assert weights_sha256(changed) != weights_sha256(small_arrays())


@given(
    st.dictionaries(
        st.text("ab/0", min_size=1, max_size=3),
        arrays_of.arrays(
            st.sampled_from([np.dtype("float32"), np.dtype("int64"), np.dtype("float16")]),
            arrays_of.array_shapes(min_dims=0, max_dims=2, max_side=3),
        ),
        max_size=3,
    ),
    st.randoms(use_true_random=False),
)
def test_a_file_preserves_the_hash_in_any_order(given_arrays: Arrays, random: Any) -> None:
    file = io.BytesIO()
    names = list(given_arrays)
    random.shuffle(names)
    np.savez(file, **{name: given_arrays[name] for name in names})
    with np.load(io.BytesIO(file.getvalue())) as read:
        assert weights_sha256({name: read[name] for name in read.files}) == weights_sha256(given_arrays)


# ---- a network's weights


def test_weights_are_copied_between_networks() -> None:
    one, other = small_network(0), small_network(1)
    taken = named_weights(one)
    assert {"encoder_0_conv_0/kernel", "encoder_0_norm_0/moving_variance", "logits/bias"} <= taken.keys()
    assert len(taken) == len(one.weights)
    assert weights_sha256(taken) != weights_sha256(named_weights(other))
    set_weights(other, taken, "here")
    assert weights_sha256(named_weights(other)) == weights_sha256(taken)


def test_named_weights_are_a_copy() -> None:
    """The weights of the best epoch must not change when training continues."""
    model = small_network()
    taken = named_weights(model)
    before = weights_sha256(taken)
    for weight in model.weights:
        weight.assign(weight + 1)
    assert weights_sha256(taken) == before


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda given: given.pop("logits/bias"), "here: missing weights 'logits/bias' of the network"),
        (
            lambda given: given.update({"extra/kernel": np.zeros(1)}),
            "here: unexpected weights 'extra/kernel': the network has no such variable",
        ),
        (
            lambda given: given.update({"logits/bias": np.zeros(3, np.float32)}),
            "here: weights 'logits/bias' are float32 (3,), but the network has float32 (2,)",
        ),
        (
            lambda given: given.update({"logits/bias": np.zeros(2, np.float64)}),
            "here: weights 'logits/bias' are float64 (2,), but the network has float32 (2,)",
        ),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change: Callable[[Arrays], Any], fault: str) -> None:
    model = small_network()
    before = weights_sha256(named_weights(model))
    given = named_weights(small_network(1))
    change(given)
    with pytest.raises(UserError) as caught:
        set_weights(model, given, "here")
    assert list(caught.value.faults) == [fault]
    assert weights_sha256(named_weights(model)) == before


def test_at_most_five_faults_are_reported() -> None:
    with pytest.raises(UserError) as caught:
        set_weights(small_network(), named_weights(small_network(width=3)), "here")
    assert len(caught.value.faults) == 5


def test_variables_are_all_assigned_or_none() -> None:
    """Variables without a layer, such as the slots of an optimizer."""
    variables = {name: keras.Variable(np.zeros(2, np.float32), name=name) for name in ("a", "b")}
    values = {"a": np.ones(2, np.float32), "b": np.full(2, 3, np.float32)}
    with pytest.raises(UserError, match="'b' are float32"):
        assign(variables, {**values, "b": values["b"][:1]}, "here")
    assert all((variable.numpy() == 0).all() for variable in variables.values())
    assign(variables, values, "here")
    assert all((variables[name].numpy() == values[name]).all() for name in values)
