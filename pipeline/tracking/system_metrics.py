"""The load of the machine during a run, measured as MLflow does, and logged like every other metric."""

import contextlib
import threading

from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from pipeline.tracking.journal import Journal


class SystemMetrics:
    """Measures every ten seconds (MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL) from `start` to `stop`.

    MLflow's own monitor sends its values itself, and stops for good if the server does not answer once.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._interval = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or 10.0
        self._monitors: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        try:
            self._monitors.append(GPUMonitor())
        except Exception:  # whatever the driver raises without a GPU, or without the package that queries it
            self._monitors = self._monitors[:3]
        known = (max(steps) for key, steps in journal.history().items() if key.startswith("system/"))
        self._step = max(known, default=-1) + 1  # continues after the last step of a killed run
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def start(self) -> None:
        """Start measuring."""
        self._thread.start()

    def stop(self) -> None:
        """Stop measuring, and wait until that is done."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        # The training thread meets a full disk, too, and reports it; training does not need to know the load.
        with contextlib.suppress(Exception):
            self._measure()
            while not self._stopped.wait(self._interval):
                measured = self._measure()
                self._journal.append_metrics({f"system/{name}": value for name, value in measured.items()}, self._step)
                self._step += 1

    def _measure(self) -> dict[str, float]:
        measured: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            measured |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return measured
