"""What a comparison reads from MLflow, the runs of a sweep or an experiment, and what it writes there."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.entities import Run

from pipeline.runtime.errors import UserError
from pipeline.tracking.registry import register
from pipeline.tracking.search import open_experiment, search_runs
from pipeline.tracking.store import answering
from pipeline.tracking.stored_run import StoredRun, as_stored, open_run
from pipeline.tracking.sweep_runs import IS_SWEEP

PARENT, NOTE, BEST = "mlflow.parentRunId", "mlflow.note.content", "best"
DIGEST = "data_digest"  # tag of a run that has begun; a trial that failed before does not have it
PLACE = "comparison"  # folder among a parent run's artifacts
MOST_RUNS = 2000
OLDEST_FIRST = ["attributes.start_time ASC"]
SECTION = re.compile(r"\n*<!-- comparison -->.*?<!-- /comparison -->", re.DOTALL)


@dataclass(frozen=True)
class Group:
    """The runs that are compared and, if a sweep was named, its own run."""

    title: str
    parent: StoredRun | None
    runs: list[StoredRun]
    left_out: list[str]  # a line for each run, or several, that is not compared: why


def find_group(names: Sequence[str], uri: str | None) -> Group:
    """The children of a parent run, the named runs, or the runs of an experiment.

    Args:
        names: the id or run_key of a parent run; or those of several runs, among which a sweep stands for its trials;
            or the name of an experiment.

    Raises:
        UserError: nothing has such a name, or there is nothing to compare.
    """
    name, *others = names
    try:
        named = open_run(name, uri)
    except UserError as no_run:
        if set(others) - {name}:
            raise
        return _of_experiment(name, uri, no_run)
    opened = _distinct([named, *(open_run(other, uri) for other in others)])
    if len(opened) > 1:
        return _of_several(opened)
    runs, left_out = _trials(named, " ".join(dict.fromkeys(names)))
    return Group(str(named.run.info.run_name or named.run_id), named, runs, left_out)


def _of_several(opened: Sequence[StoredRun]) -> Group:
    """Runs that are named; the own run of a sweep, which trains nothing, stands for its trials.

    Raises:
        UserError: a sweep has no trials, or only one run is left.
    """
    runs: list[StoredRun] = []
    left_out: list[str] = []
    for stored in opened:
        if IS_SWEEP in stored.tags:
            trials, unreadable = _trials(stored, stored.label.removeprefix("run="))
            stored.folder.cleanup()
            runs += trials
            left_out += unreadable
        else:
            runs.append(stored)
    runs = _distinct(runs)
    if len(runs) == 1:
        runs[0].folder.cleanup()
        names = " ".join(stored.label.removeprefix("run=") for stored in opened)
        reason = "these names have one run together; name a sweep's run, several runs, or an experiment"
        raise UserError(f"{names}: {reason}", *left_out)
    return Group(f"{len(runs)} runs", None, runs, left_out)


def _distinct(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Each run once, whichever of its names it was found by, in the order of the first ones."""
    found: dict[str, StoredRun] = {}
    for stored in runs:
        if found.setdefault(stored.run_id, stored) is not stored:
            stored.folder.cleanup()
    return list(found.values())


def _trials(parent: StoredRun, name: str) -> tuple[list[StoredRun], list[str]]:
    """`children_of` a run that has at least one.

    Raises:
        UserError: it has none that can be read.
    """
    runs, left_out = children_of(parent)
    if not runs:
        parent.folder.cleanup()
        if left_out:
            raise UserError(f"{name}: none of its child runs can be read", *left_out)
        if IS_SWEEP in parent.tags:
            raise UserError(f"{name}: this sweep has no trials; compare it when the first one has begun")
        raise UserError(f"{name}: this run has no child runs; name a sweep's run, several runs, or an experiment")
    return runs, left_out


def children_of(parent: StoredRun) -> tuple[list[StoredRun], list[str]]:
    """The child runs of a run that this version can read, the oldest first, and why it cannot read the others."""
    with answering(parent.client.tracking_uri):
        found = _search(parent.client, parent.run.info.experiment_id, f"tags.`{PARENT}` = '{parent.run_id}'")
    return _usable(found, parent.client)


def _of_experiment(name: str, uri: str | None, no_run: UserError) -> Group:
    """The runs of an experiment on one dataset, without the own runs of sweeps.

    Raises:
        UserError: the message of `no_run`, if no experiment has the name either; or there is nothing to compare.
    """
    client, experiment = open_experiment(name, uri)
    if experiment is None:
        reason = str(no_run.faults[0]).removeprefix(f"run={name}: ")
        raise UserError(f"{name}: {reason}, and no experiment has this name")
    with answering(client.tracking_uri):
        found = _search(client, experiment)
    parents = {run.data.tags.get(PARENT) for run in found}
    runs, left_out = _usable([run for run in found if run.info.run_id not in parents], client)
    if not runs:
        raise UserError(f"{name}: the experiment has no runs", *left_out)
    same, others = _on_one_dataset(runs)
    return Group(name, None, same, [*left_out, *others])


def _on_one_dataset(runs: list[StoredRun]) -> tuple[list[StoredRun], list[str]]:
    """The runs on the dataset of most of them, since scores on several cannot be compared; and which are left out.

    A trial that failed before its run began has no scores, and maybe not the names of its classes either: it is listed
    with the others, whatever they are trained on.
    """
    groups: dict[tuple[str | None, ...], list[StoredRun]] = {}
    for run in runs:
        if DIGEST in run.tags:
            key = tuple(run.run.data.params.get(name) for name in ("dataset.name", "dataset.classes"))
            groups.setdefault(key, []).append(run)
    largest = max(groups.values(), key=len, default=[])
    same = {run.run_id for run in largest}
    left_out = []
    for (dataset, _), group in groups.items():
        if group is not largest:
            for run in group:
                run.folder.cleanup()
            run_ids = " ".join(run.run_id for run in group[:3]) + (" …" if len(group) > 3 else "")
            left_out.append(
                f"Runs on dataset={dataset} are left out, since they have other classes; by their ids: {run_ids}"
            )
    return [run for run in runs if run.run_id in same or DIGEST not in run.tags], left_out


def _usable(found: Sequence[Run], client: mlflow.MlflowClient) -> tuple[list[StoredRun], list[str]]:
    """The runs that this version can read, and why it cannot read the others."""
    runs: list[StoredRun] = []
    left_out: list[str] = []
    for run in found:
        try:
            runs.append(as_stored(run, client, f"run={run.info.run_id}"))
        except UserError as error:
            left_out += error.faults
    return runs, left_out


def _search(client: mlflow.MlflowClient, experiment: str, condition: str = "") -> list[Run]:
    """The runs of an experiment that meet a condition, the oldest first.

    Raises:
        UserError: there are more than `MOST_RUNS`.
    """
    found = list(islice(search_runs(client, [experiment], condition, order_by=OLDEST_FIRST), MOST_RUNS + 1))
    if len(found) > MOST_RUNS:
        raise UserError(f"more than {MOST_RUNS} runs: name those that are to be compared")
    return found


def curves(stored: StoredRun, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
    """Some metrics as {epoch: value}."""
    with answering(stored.client.tracking_uri):
        found = {
            name: stored.client.get_metric_history(stored.run_id, name)
            for name in metrics
            if name in stored.run.data.metrics
        }
    return {name: {metric.step: metric.value for metric in values} for name, values in found.items()}


def recorded_data_folder(stored: StoredRun) -> Path | None:
    """The folder of the run's data when it was made, according to its inputs in MLflow; None if they name none."""
    for data in stored.run.inputs.dataset_inputs if stored.run.inputs else []:
        try:
            uri = json.loads(data.dataset.source)["uri"]
        except (ValueError, KeyError, TypeError):
            continue
        address = urlsplit(str(uri))
        if address.scheme in ("", "file") and address.path.startswith("/"):
            return Path(unquote(address.path) if address.scheme else str(uri))
    return None


def tag_best(group: Group, best: str) -> None:
    """Set the tag `best` on one run, and remove it from every other run of the group.

    Args:
        best: MLflow's id of the run.
    """
    for stored in group.runs:
        with answering(stored.client.tracking_uri):
            if stored.run_id == best:
                stored.client.set_tag(stored.run_id, BEST, "true")
            elif BEST in stored.tags:
                stored.client.delete_tag(stored.run_id, BEST)


def log_comparison(parent: StoredRun, files: Sequence[Path]) -> None:
    """Log files as artifacts of the parent run; they replace those of an earlier comparison."""
    with answering(parent.client.tracking_uri):
        for file in files:
            parent.client.log_artifact(parent.run_id, str(file), PLACE)


def describe_best(parent: StoredRun, best: StoredRun, label: str, command: str) -> None:
    """Write a section of the parent's description: the best child, a link to it, and the command that repeats it.

    The rest of the description stays; the section of an earlier comparison is replaced.
    """
    link = f"#/experiments/{best.run.info.experiment_id}/runs/{best.run_id}"
    section = (
        f"<!-- comparison -->\n**Best run:** [{harmless(label)}]({link})\n\n"
        f"Run it again:\n\n    {harmless(command)}\n\nAll runs side by side: artifact `{PLACE}/comparison.html`\n"
        "<!-- /comparison -->"
    )
    with answering(parent.client.tracking_uri):
        note = parent.client.get_run(parent.run_id).data.tags.get(NOTE, "")
        parent.client.set_tag(parent.run_id, NOTE, f"{SECTION.sub('', note).rstrip()}\n\n{section}".strip())


def harmless(text: str) -> str:
    """Text without the characters that Markdown or HTML interprets."""
    return re.sub(r"[^\w .,:;=+/'@-]", "", " ".join(text.split()))[:500]


def register_model(best: StoredRun) -> str:
    """Put a run's model into MLflow's registry, under the experiment's name, with the alias `best`.

    Returns:
        The address that loads it, `models:/<name>@best`.

    Raises:
        UserError: the run has no model, or the registry refuses.
    """
    with answering(best.client.tracking_uri):
        experiment = best.client.get_experiment(best.run.info.experiment_id)
    name = re.sub(r"[/:\s]+", "-", experiment.name).strip("-") or "model"
    return register(best.client, best.run_id, name, BEST).address
