"""What may be planted in the weights, the checkpoints and the environment of a stored run."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.model.weights import weights_sha256
from tests.end_to_end.planted import LAST, Copy, Payload, Plant, linked, of_size, values

# ---- weights, for the commands that predict


def arrays(name: str, change: Callable[[dict[str, np.ndarray]], object], sign: bool = True) -> Plant:
    """Other arrays in one of the run's files, with the hash that belongs to them."""

    def plant(copy: Copy) -> None:
        with np.load(copy.root / name) as file:
            found = dict(file)
        change(found)
        np.savez(copy.root / name, **found)
        if sign:
            signed(copy)
            if name == "checkpoints/best/weights.npz":
                copy.tag("weights_sha256", weights_sha256(found))

    return plant


def file(name: str, bytes_of: Callable[[bytes], bytes]) -> Plant:
    """Another content of one of the run's files, with the hash that belongs to it in the state next to it."""

    def plant(copy: Copy) -> None:
        (copy.root / name).write_bytes(bytes_of((copy.root / name).read_bytes()))
        signed(copy)

    return plant


def signed(copy: Copy, **changes: Any) -> None:
    """Give the states the hashes of the files next to them and of themselves, as an attacker would."""
    for place, names in (("best", LAST[:1]), ("last", LAST)):
        path = copy.root / "checkpoints" / place / "state.json"
        state = json.loads(path.read_text())
        del state["state_sha256"]
        state["sha256"] = {name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in names}
        if place == "last":
            for key, value in changes.items():
                section, _, inner = key.rpartition("__")
                (state[section] if section else state)[inner] = value
        state["state_sha256"] = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(state))


def compressed(_: bytes) -> bytes:
    """A file of a megabyte that is a gigabyte when it is read."""
    import io

    held = io.BytesIO()
    np.savez_compressed(held, **{"logits/bias": np.zeros(2**24, np.float64)})
    return held.getvalue()


FITS_NOT = " the network"
BIAS = "logits/bias"
BEST = "checkpoints/best/weights.npz"


def faulty_arrays(name: str) -> dict[str, tuple[Plant, str]]:
    """What can be wrong in a file of weights."""
    key = BIAS
    return {
        "pickle": (arrays(name, lambda found: found.update({key: np.array([Payload()], object)})), "as named arrays"),
        "whole pickle": (file(name, lambda _: pickle.dumps(Payload())), "cannot be read as named arrays"),
        "compressed": (file(name, compressed), "it is compressed"),
        "another name": (arrays(name, lambda found: found.update(x=found.pop(key))), FITS_NOT),
        "one more": (arrays(name, lambda found: found.update(x=np.zeros(1))), FITS_NOT),
        "another shape": (arrays(name, lambda found: found.update({key: np.zeros(77, np.float32)})), FITS_NOT),
        "another type": (arrays(name, lambda found: found.update({key: found[key].astype("S4")})), FITS_NOT),
    }  # fmt: skip


WEIGHTS: dict[str, tuple[Plant, str]] = {
    **faulty_arrays(BEST),
    "another hash": (arrays(BEST, lambda found: found[BIAS].__iadd__(1), sign=False), "weights_sha256 is "),
    "hash with an escape": (lambda copy: copy.tag("weights_sha256", "\x1b[2J\n"), r"the run recorded \x1b[2J\n"),
    "linked": (linked(BEST), "is not a plain file"),
    "absent": (lambda copy: (copy.root / BEST).unlink(), f"has no artifact {BEST}"),
    "network of another size": (values(model__width=5), FITS_NOT),
}


# ---- checkpoints, for `resume=`


def state(**changes: Any) -> Plant:
    """Other values in the state of the last checkpoint, correctly signed."""
    return lambda copy: signed(copy, **changes)


def best_of_another_epoch(copy: Copy) -> None:
    with np.load(copy.root / BEST) as found:
        np.savez(copy.root / BEST, **{name: values + 1 for name, values in found.items()})
    signed(copy)


RESUME: dict[str, tuple[Plant, str]] = {
    **{
        name: case
        for name, case in faulty_arrays("checkpoints/last/weights.npz").items()
        # To be found these take a network, and so seconds: one is enough.
        if name not in ("one more", "another shape", "another type")
    },
    "another optimizer": (
        arrays("checkpoints/last/optimizer.npz", lambda found: found.pop(next(iter(found)))), FITS_NOT,
    ),
    "pickle in the optimizer": (
        arrays("checkpoints/last/optimizer.npz", lambda found: found.update(x=np.array([Payload()], object))),
        "as named arrays",
    ),
    "unsigned": (arrays("checkpoints/last/weights.npz", lambda found: found[BIAS].__iadd__(1), False), "is damaged"),
    "best weights of another epoch": (best_of_another_epoch, "checkpoints/best does not contain the weights of epoch"),
    "best weights of another network": (
        lambda copy: (
            arrays(BEST, lambda found: found.pop(BIAS))(copy),
            signed(copy, best__weights_sha256=weights_sha256(dict(np.load(copy.root / BEST)))),
        ),
        "has the weights of another network",
    ),
    "no state": (lambda copy: (copy.root / "checkpoints/last/state.json").write_text("{"), "state.json: is damaged"),
    "deep state": (lambda copy: (copy.root / "checkpoints/last/state.json").write_text("[" * 10**5), "is damaged"),
    "state of 100 MB": (of_size("checkpoints/last/state.json", 10**8), "has 100000000 bytes"),
    "step is a word": (state(step="many"), "is not a valid training state"),
    "step is nothing": (state(step=None), "is not a valid training state"),
    "step is a list": (state(step=[1]), "is not a valid training state"),
    "step is infinite": (state(step=float("inf")), "is not a valid training state"),
    "step below zero": (state(step=-4, epoch=-2), "is not in epoch"),
    "step beyond the epoch": (state(step=10**12), "is not in epoch"),
    "epoch beyond the end": (state(step=198, epoch=99), "99 epochs are closed, but the run has 2"),
    "epochs of other lengths": (state(step=6, steps_per_epoch=3), "has 3 steps per epoch, but this run has 2"),
    "epochs of no steps": (state(step=0, epoch=0, steps_per_epoch=0), "is not a valid training state"),
    "seconds of nothing": (state(seconds=float("nan")), "nan seconds"),
    "no best": (state(best=None), "the best epoch is missing, or named before any epoch"),
    "best is a number": (state(best=3), "is not a valid training state"),
    "best of another epoch": (state(best__epoch=3), "epoch 3 cannot be the best of 2"),
    "best that is no score": (state(best__mean_iou=7.0), "a mean IoU between 0 and 1"),
    "matrix of other classes": (state(best__confusion_matrix=[[1]]), "a confusion matrix of 5 classes expected"),
    "ragged matrix": (state(best__confusion_matrix=[[1, 2], [3]]), "is not a valid training state"),
    "matrix without end": (state(best__confusion_matrix=[[10**30] * 5] * 5), "is not a valid training state"),
    "key that is a path": (lambda copy: copy.tag("run_key", "../../elsewhere"), "has no run_key of this program"),
    "host with an escape": (
        lambda copy: (
            copy.tag("host", "\x1b[2J"), copy.tag("boot", "x"), copy.tag("pid", "1"), copy.tag("started", "1"),
            shutil.rmtree(copy.root / "checkpoints/last"),
        ),
        r"resume it on \x1b[2J (pid 1)",
    ),
    "host without a name": (
        lambda copy: (
            copy.tag("host", ""), copy.tag("boot", ""), copy.tag("pid", "1"), copy.tag("started", "nan"),
            shutil.rmtree(copy.root / "checkpoints/last"),
        ),
        "its checkpoints were not uploaded",
    ),
    "other data": (lambda copy: copy.tag("data_digest", "\x1b[2J"), r"(digest \x1b[2J, now "),
}  # fmt: skip


# ---- what it was made with, for `rerun=` and `resume=`


def environment_file(name: str, text: str) -> Plant:
    return lambda copy: (copy.root / "environment" / name).write_text(text)


MADE_WITH: dict[str, tuple[Plant, str]] = {
    "no JSON": (environment_file("git.json", "{"), "git.json: is not JSON"),
    "deep JSON": (environment_file("hardware.json", "[" * 10**5), "hardware.json: is not JSON"),
    "list": (environment_file("sources.json", "[]"), "sources.json: is not what a run writes"),
    "numbers": (environment_file("hardware.json", '{"cpu": 3}'), "hardware.json: is not what a run writes"),
    "rows": (environment_file("data.json", '{"train": [["a"]]}'), "data.json: is not what a run writes: rows of id"),
    "link": (linked("environment/git.json"), "environment/git.json is not a plain file"),
    "100 MB": (of_size("environment/git.diff", 10**8), "has 100000000 bytes"),
}
