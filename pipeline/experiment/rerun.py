"""`rerun=<run id>`: the run that is repeated, what is different now, and whether the results are the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.fingerprint import changes_nothing
from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.model.weights import Arrays, read_arrays, weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import plain
from pipeline.tracking.provenance import Provenance, fetch_provenance
from pipeline.tracking.stored_run import open_run
from pipeline.tracking.sweep_runs import IS_SWEEP
from pipeline.train.ending import ENDED_BY

History = Mapping[str, Mapping[int, float]]  # metric -> step -> value
# Metrics of the machine, of the network or of exported files, not of the result; older runs have fewer of them.
WALL_CLOCK = ("time/", "system/", "train/images_per_second", "model/", "export/")
AT_THE_END = ("best/", "test/")
# Scores that runs of version 0.1 do not have: they are compared only with those of runs that do.
LATER_SCORES = (
    "test/mean_dice", "test/mean_precision", "test/mean_recall", "test/frequency_weighted_iou", "test/boundary_iou",
    "test/mean_iou_low", "test/mean_iou_high",
)  # fmt: skip
CLOSED = "val/mean_iou"  # logged by every closed epoch
INITIAL = "checkpoints/initial"  # folder of the initial weights among the artifacts


@dataclass(frozen=True)
class Original:
    """A finished run that is repeated, as MLflow has it."""

    run_id: str
    config: Config
    history: History
    weights_sha256: str
    initial_sha256: str | None  # of its initial weights; None for random ones
    initial: Arrays | None  # its initial weights, if they were logged
    provenance: Provenance
    ended_by: str | None = None  # the key that ended it before its last epoch

    def last_epoch(self, config: Config) -> int | None:
        """The epoch after which a rerun ends, whatever the time: where the original may have been ended by time.

        Where early stopping or learnt images ended the original, they end a rerun too, with another seed elsewhere.

        Args:
            config: of the rerun; with another limit its own time counts, and with more epochs too.
        """
        if config.max_minutes is None or config.max_minutes != self.config.max_minutes:
            return None
        if (config.epochs, config.steps) != (self.config.epochs, self.config.steps):
            return None
        if self.ended_by not in (None, "max_minutes"):
            return config.epochs
        return max(self.history.get(CLOSED, {}), default=None)


@dataclass(frozen=True)
class Verdict:
    """Whether a rerun gave the results of its original, and where they first differ."""

    identical: bool
    text: str


def find_original(name: str, uri: str | None) -> Original:
    """A finished run by MLflow's id or by its run_key.

    Args:
        uri: the tracking address; None for the default.

    Raises:
        UserError: it cannot be repeated, and why.
    """
    stored = open_run(name, uri, "rerun")
    with stored.folder:
        if IS_SWEEP in stored.tags:
            raise UserError(
                f"rerun={name}: is a sweep; one of its trials, which `python -m pipeline.runs` lists, expected"
            )
        status = stored.run.info.status
        if status != "FINISHED":
            hint = f"; resume={name} continues it" if status in ("KILLED", "FAILED") else ""
            raise UserError(f"rerun={name}: is {status}, and only a FINISHED run can be repeated{hint}")
        if (before := stored.tags.get("resumed_from")) is not None:
            longer = stored.config()
            length = f"epochs={longer.epochs}" + (f" steps={longer.steps}" if longer.steps is not None else "")
            raise UserError(
                f"rerun={name}: is the longer run that resume={plain(before)} {length} made; a "
                f"rerun starts from scratch: type rerun={plain(before)}, then resume=<the new run> {length}"
            )
        recorded = stored.tags.get("weights_sha256")
        if recorded is None:
            raise UserError(f"rerun={name}: has no weights_sha256 to compare with")
        config, initial = stored.config(), stored.tags.get("initial_weights_sha256")
        config.tracking.uri = uri  # where it was found, with the password, which no run stores
        arrays = read_arrays(stored.fetch(f"{INITIAL}/weights.npz")) if stored.has(f"{INITIAL}/weights.npz") else None
        if arrays is not None and (found := weights_sha256(arrays)) != initial:
            raise UserError(f"rerun={name}: its initial weights have SHA-256 {found}, but the run recorded {initial}")
        return Original(
            run_id=stored.run_id,
            config=config,
            history=stored.history(),
            weights_sha256=recorded,
            initial_sha256=initial,
            initial=arrays,
            provenance=fetch_provenance(stored),
            ended_by=stored.tags.get(ENDED_BY),
        )


def changed_keys(original: Config, now: Config) -> list[str]:
    """`epochs: 8 -> 20` for every changed key that affects weights or scores."""
    before, after = flatten(original), flatten(now)
    lines = [
        f"{key}: {before[key]} -> {after[key]}"
        for key in after
        if before[key] != after[key] and not changes_nothing(key)
    ]
    if not original.deterministic and not now.deterministic:
        lines.append("deterministic=false: two runs of the same command need not give the same bits")
    return lines


def compare(original: Original, history: History, weights_sha256: str, explanations: list[str]) -> Verdict:
    """Compare the weights, and every metric of every step but those of the machine.

    Args:
        history: of the rerun.
        weights_sha256: of the rerun.
        explanations: differences that may be the reason, listed after the first value that differs.
    """
    before, after = _results(original.history), _results(history)
    after = {key: values for key, values in after.items() if key in before or key not in LATER_SCORES}
    steps = {step for values in before.values() for step in values}
    both = [
        (step, key)
        for key in before.keys() | after.keys()
        for step in before.get(key, {}).keys() | after.get(key, {}).keys()
    ]
    differing = [
        (step, key) for step, key in both if not _equal(before.get(key, {}).get(step), after.get(key, {}).get(step))
    ]
    same_weights = weights_sha256 == original.weights_sha256
    if not differing and same_weights:
        return Verdict(True, f"bit-identical: {len(before)} metrics x {len(steps)} steps, weights equal")
    first = "every metric is equal, but the weights are not"
    if differing:
        # What is logged at the end comes last, though its step is the best epoch.
        step, key = min(differing, key=lambda item: (item[1].startswith(AT_THE_END), *item))
        difference = _difference(key, before.get(key, {}).get(step), after.get(key, {}).get(step))
        first = f"differs from step {step}: {difference} ({len(differing)} of {len(both)} values differ)"
    lines = [first, f"weights {'equal' if same_weights else 'differ'}"]
    lines += ["possible reasons:", *(f"  {line}" for line in explanations)] if explanations else ["no reason is known"]
    return Verdict(False, "\n".join(lines))


def _results(history: History) -> dict[str, Mapping[int, float]]:
    return {key: values for key, values in history.items() if not key.startswith(WALL_CLOCK)}


def _equal(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    # A database stores infinity as the greatest finite number.
    return then == now or (math.isinf(now) and abs(then) > 1.7e308 and then * now > 0)


def _difference(key: str, then: float | None, now: float | None) -> str:
    by = f", by {now - then:+.3g}" if then is not None and now is not None else ""
    shown_then, shown_now = ("missing" if value is None else repr(value) for value in (then, now))
    return f"{plain(key)} was {shown_then}, is {shown_now}{by}"
