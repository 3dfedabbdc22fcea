"""Where training stands, besides the arrays: what state.json of a checkpoint holds."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Best:
    """The epoch with the highest validation mIoU so far."""

    epoch: int  # from 1
    mean_iou: float
    loss: float
    confusion_matrix: list[list[int]]  # (classes, classes); rows are the truth, columns the prediction
    weights_sha256: str


@dataclass(frozen=True)
class TrainingState:
    """Where training stands. `step` is beyond the closed epochs while one is under way."""

    step: int  # batches trained
    epoch: int  # epochs closed: trained, validated and logged
    steps_per_epoch: int
    seconds: float  # of training so far, in all processes that took part
    collapse_reported: bool  # whether the collapse that the last closed epoch was in has been warned of
    best: Best | None
    epoch_seconds: float = 0.0  # that the last closed epoch took, without compiling

    @property
    def steps_into_epoch(self) -> int:
        """Steps taken since the last closed epoch, at most `steps_per_epoch`."""
        return self.step - self.epoch * self.steps_per_epoch

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        content = asdict(self)
        # The key in the file is older than the name of the attribute.
        return {"told_collapse" if key == "collapse_reported" else key: value for key, value in content.items()}

    @staticmethod
    def from_json(content: dict[str, Any]) -> "TrainingState":
        """A state from JSON that may come from a tracking server: every value gets its type, and is checked.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is not one.
        """
        step, epoch, steps_per_epoch = (int(content[key]) for key in ("step", "epoch", "steps_per_epoch"))
        best = None if content["best"] is None else _best(content["best"])
        if not 0 <= epoch * steps_per_epoch <= step <= (epoch + 1) * steps_per_epoch or steps_per_epoch < 1:
            raise ValueError(f"step {step} is not in epoch {epoch} of {steps_per_epoch} steps each")
        return TrainingState(
            step,
            epoch,
            steps_per_epoch,
            float(content["seconds"]),
            bool(content["told_collapse"]),
            best,
            float(content.get("epoch_seconds", 0.0)),  # version 0.1 did not write it
        )


def _best(content: dict[str, Any]) -> Best:
    matrix = [[int(count) for count in row] for row in content["confusion_matrix"]]
    if any(len(row) != len(matrix) or not all(0 <= count < 2**63 for count in row) for row in matrix):
        raise ValueError("confusion_matrix is not square, or has invalid counts")
    return Best(
        epoch=int(content["epoch"]),
        mean_iou=float(content["mean_iou"]),
        loss=float(content["loss"]),
        confusion_matrix=matrix,
        weights_sha256=str(content["weights_sha256"]),
    )
