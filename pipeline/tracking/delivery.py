"""From a run's journal into MLflow, record by record, in order; a record that is sent again changes nothing."""

import contextlib

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import Busy
from pipeline.runtime.process import where
from pipeline.tracking.artifact_uris import checked_location
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Artifacts, Begin, Model, Record
from pipeline.tracking.run_ref import RunRef, owner_elsewhere, read_position, tracking_of, write_position
from pipeline.tracking.run_writer import RunWriter
from pipeline.tracking.search import get_run, run_with_key
from pipeline.tracking.store import Store, answering, connect, open_store


class Delivery:
    """Sends one journal to one tracking address, and stores in the run's folder how many records were sent.

    Attributes:
        sent: how many records MLflow has.
        run_id: MLflow's id of the run; None until the run was created.
        store: where the run is in MLflow; None until MLflow has answered.
    """

    def __init__(self, journal: Journal, tracking: TrackingConfig, shared: bool = False) -> None:
        """Args: shared: whether several machines may write to the run, as to a sweep's own run: it has no history."""
        self.journal, self.tracking, self._shared = journal, tracking, shared
        self.store: Store | None = None
        self.run_id, self.sent = read_position(journal.folder)
        if self.sent > len(journal.records):  # the disk lost the end of the journal, or this is an earlier copy of it
            self.sent = 0

    @property
    def done(self) -> bool:
        """Whether MLflow has the whole journal."""
        return self.sent >= len(self.journal.records)

    def send_all(self) -> None:
        """Send every record that MLflow does not have yet.

        Raises:
            UserError, …: the next record could not be sent; it can be tried again.
        """
        while not self.done:
            self.send_next()

    def send_next(self) -> None:
        """Send one record.

        Raises:
            UserError, …: it could not be sent; it can be tried again.
        """
        store = self.open()
        record = self.journal.records[self.sent]
        with answering(store.uri):
            self._apply(record, store)
        self.sent += 1
        write_position(self.journal.folder, self.run_id, self.sent)
        if isinstance(record, Artifacts | Model):
            self.journal.outbox.remove(record.parcel)

    def open(self) -> Store:
        """Connect, and find out how much of the journal this store has, unless that is done already.

        Raises:
            UserError: another machine has resumed the run, or its artifacts would go to a location that is not trusted.
            UserError, MlflowException, OSError, …: the store does not answer; it can be tried again.
        """
        if self.store is None:
            store = open_store(self.tracking)
            self._client = connect(store.uri)
            self._find_run(store)
            self.store = store  # last, so that an attempt that failed half way is repeated
        return self.store

    def heartbeat(self, instant: float) -> None:
        """Notify other machines that the run is alive.

        Args:
            instant: seconds since the epoch.
        """
        if self.store is not None and self.run_id is not None:
            with answering(self.store.uri):
                self._client.set_tag(self.run_id, "heartbeat", f"{instant:.0f}")

    def _find_run(self, store: Store) -> None:
        """Find the run that an earlier process created; a store that does not have it gets the journal from the start.

        Raises:
            UserError: another machine has resumed the run. If this one sent the rest, the history would have two
                versions of an epoch, and the run would end while it is alive.
        """
        key = self.journal.folder.name
        run = None if self.run_id is None else get_run(self._client, self.run_id)
        if run is None or run.data.tags.get("run_key") != key:
            self.run_id, self.sent = None, 0
            run = run_with_key(self._client, [store.experiment_id], key)
        if run is None:
            return
        self.run_id = _checked_run_id(run, store)
        owner = owner_elsewhere(self.journal.records, run.data.tags)
        if owner is not None and not self._shared:
            raise UserError(
                f"run {self.run_id}: has since been resumed{where(owner)}; what else {self.journal.folder} contains is "
                "not sent"
            )

    def _apply(self, record: Record, store: Store) -> None:
        if isinstance(record, Begin):
            self._create_run(record, store)
        else:
            assert self.run_id is not None  # the first record is a Begin
            RunWriter(self._client, store, self.run_id, self.journal).write(record)

    def _create_run(self, begin: Begin, store: Store) -> None:
        """Create the run, unless an earlier attempt did, of which only the answer was lost."""
        key = self.journal.folder.name
        if self.run_id is None:
            run = run_with_key(self._client, [store.experiment_id], key)
            if run is None:
                tags = {**begin.tags, "run_key": key}
                if begin.parent is not None:
                    tags[MLFLOW_PARENT_RUN_ID] = self._parent_id(begin.parent, store)
                run = self._client.create_run(
                    store.experiment_id, start_time=begin.time, run_name=begin.name, tags=tags
                )
            self.run_id = _checked_run_id(run, store)

    def _parent_id(self, key: str, store: Store) -> str:
        """MLflow's id of the sweep that the run is a trial of.

        Raises:
            UserError: it is not in MLflow yet; the process that has its journal sends it.
        """
        found = run_with_key(self._client, [store.experiment_id], key, deleted=True)
        if found is None:
            raise UserError(f"the sweep of this trial, {key}, is not in MLflow yet")
        return str(found.info.run_id)


def send_if_possible(journal: Journal, uri: str | None) -> None:
    """Send a journal; what cannot be sent now, for whatever reason, is left to `pipeline.sync`, which reports it.

    Args:
        uri: the tracking address that was given; None for the recorded one.
    """
    with contextlib.suppress(Exception):
        Delivery(journal, tracking_of(journal.begin, uri)).send_all()


def send_rest(run: RunRef, uri: str | None) -> None:
    """Send what is left of a run that ended before all of it was sent; a run that is alive sends for itself.

    Args:
        uri: see `send_if_possible`.
    """
    if run.unsent():
        with contextlib.suppress(Busy), contextlib.closing(Journal(run.folder)) as journal:
            send_if_possible(journal, uri)


def _checked_run_id(run: Run, store: Store) -> str:
    return checked_location("run", run.info.run_id, run.info.artifact_uri, store.uri)
