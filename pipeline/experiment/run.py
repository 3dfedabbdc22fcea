"""One run from beginning to end: data, network, training, evaluation, tracking.

Imported when TensorFlow is up (`pipeline.runtime.hardware.import_tensorflow`).
"""

import time

from pipeline.config.override_names import kept_keys
from pipeline.config.schema import Config
from pipeline.data.cache import DataCache
from pipeline.experiment.evaluation import evaluate_test_split
from pipeline.experiment.initial_weights import find_initial_weights
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.log import (
    log_inputs,
    log_network,
    log_pruned,
    log_results,
    log_verdict,
    log_weights,
    open_tracking,
)
from pipeline.experiment.messages import (
    print_differences,
    print_finished,
    print_note,
    print_opening,
    print_pruned,
    print_results,
    print_tracking,
    print_verdict,
)
from pipeline.experiment.overfit import conclude
from pipeline.experiment.resume import Finished
from pipeline.experiment.start import begin_or_continue
from pipeline.experiment.training import train_network
from pipeline.experiment.trial import ALONE, Result, Trial
from pipeline.runtime.console import PreparationDisplay
from pipeline.runtime.errors import RerunDiffers
from pipeline.runtime.hardware import resolve_auto, set_up, strategy
from pipeline.train.compiled import NetworkCache, drop_graphs
from pipeline.train.cost import require_memory, training_cost

NEW = Lineage()


def run_experiment(
    config: Config,
    overrides: list[str],
    hydra_yaml: str,
    lineage: Lineage = NEW,
    trial: Trial = ALONE,
    cache: DataCache | None = None,
    networks: NetworkCache | None = None,
) -> Result:
    """Train, evaluate and track what a checked configuration describes.

    Args:
        overrides: as typed; they are logged, as is Hydra's own configuration.
        hydra_yaml: that configuration.
        lineage: the run that this one repeats or continues.
        trial: what the run is in a sweep.
        cache: data of earlier runs in this process.
        networks: compiled for earlier runs in this process.

    Raises:
        UserError: the data, the tracking address or the run to continue has faults; nothing was trained.
        RunFailed: training had to stop, the disk is full, or `overfit` was not reached.
        RerunDiffers: the results are not those of the original, and `lineage.strict` demands them.
    """
    started = time.perf_counter()
    cache = cache or DataCache()
    if networks is None:
        drop_graphs()  # of an earlier run in this process
        networks = NetworkCache()
    config = resolve_auto(config)
    set_up(config)
    devices = strategy(config)
    store = open_tracking(config.tracking)  # first: a wrong address must not wait for the data to be prepared

    initial, initial_sha256 = find_initial_weights(config, lineage)
    with PreparationDisplay() as progress:
        dataset = cache.dataset(config, progress)
    with devices.scope():
        network = networks.network(config, dataset, initial)
    cost = training_cost(network.model, config)
    require_memory(cost, config)

    run = begin_or_continue(config, overrides, dataset, initial_sha256, store, lineage, trial)
    if isinstance(run, Finished):
        print_finished(run)
        return Result(run.name, run.score, run.metrics)
    with run:
        trial.on_begin(run.key, run.journal.history().get("val/mean_iou", {}))
        if trial is ALONE:  # a sweep has named its store before its first trial
            print_tracking(config.tracking, resumed=lineage.resume is not None)
        print_opening(config, dataset, initial, run, store is not None, cache.room(config, dataset), cost)
        differences = log_inputs(run, config, dataset, hydra_yaml, lineage.rerun, initial_sha256)
        print_differences(differences)
        for note in kept_keys(overrides):
            print_note(note)
        log_network(run, config, network.model, initial)

        trained = train_network(run, network, dataset, config, trial, cache)
        if trained is None:  # a pruned trial has no best weights, and the test split is not looked at
            result = log_pruned(run)
            print_pruned(result)
            return result
        log_weights(run, config, dataset, trained)
        scores = {"val": trained.best_scores}
        if "test" in dataset.splits:
            scores["test"] = evaluate_test_split(run, network.scorer, dataset, config, trained.best_epoch)

        seconds = log_results(run, config, dataset, trained, scores, started)
        verdict = log_verdict(run, lineage.rerun, trained, differences)
    print_results(run, dataset, trained, scores, seconds)
    if config.overfit:
        conclude(config, dataset, trained, run.journal.history()["train/loss"])
    if lineage.rerun is not None and verdict is not None:
        print_verdict(f"rerun of {lineage.rerun.run_id}: {verdict.text}")
        if lineage.strict and not verdict.identical:
            raise RerunDiffers(f"rerun={lineage.rerun.run_id}: {verdict.text.splitlines()[0]}")
    return Result.of(run, trained.best_scores.mean_iou)
