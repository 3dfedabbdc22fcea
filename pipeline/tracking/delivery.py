"""From a run's journal into MLflow, record by record, in order; a record that is sent again changes nothing."""

import contextlib
import time

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.config.addresses import database_file, tracking_uri
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import Busy
from pipeline.runtime.process import where
from pipeline.tracking.artifact_uris import checked_location
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Artifacts, Begin, Images, ModelScores, Record, Status, View, WithFiles
from pipeline.tracking.refusals import FilesRefused, Refusal, summary
from pipeline.tracking.run_ref import (
    RunRef,
    owner_elsewhere,
    read_deferred,
    read_position,
    tracking_of,
    write_position,
)
from pipeline.tracking.run_writer import RunWriter
from pipeline.tracking.search import deletion, get_run, run_with_key
from pipeline.tracking.store import Store, answering, check_place, connect, open_store, reason_in_words

RETRY_AFTER = 10.0  # seconds after which refused files are tried again
# Records that a store may refuse without harm to the others: of files, and of what not every store has or permits.
DEFERRABLE = (WithFiles, ModelScores, View)


class NotStored(UserError):
    """MLflow has everything of a run but files that it refused; a line for each reason."""


class Delivery:
    """Sends one journal to one tracking address, and stores in the run's folder how many records were sent.

    A record whose files are refused by a store that answers is deferred: it is passed over, its files wait in the
    outbox, and it is tried again at the end and by later processes. So are the others of `DEFERRABLE`. If the store
    does not answer, everything waits.

    Attributes:
        sent: how many records MLflow has, apart from deferred ones.
        deferred: what was refused of records before that position, by their numbers.
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
        numbers = [number for number in read_deferred(journal.folder) if number < self.sent]
        self.deferred = {number: Refusal({_place(journal.records[number]): "was refused before"}) for number in numbers}

    @property
    def done(self) -> bool:
        """Whether MLflow has the whole journal, apart from deferred records."""
        return self.sent >= len(self.journal.records)

    def send_all(self) -> None:
        """Send every record that MLflow does not have yet.

        Raises:
            NotStored: everything is sent but files that were refused.
            UserError, …: the next record could not be sent; it can be tried again.
        """
        while not self.done:
            self.send_next()
        self.retry_deferred()
        if self.deferred:
            raise NotStored(*summary(self.deferred.values()))

    def send_next(self) -> None:
        """Send one record, or defer it.

        Raises:
            UserError, …: it could not be sent; it can be tried again.
        """
        self.open()
        self._send(self.sent)

    def retry_deferred(self) -> None:
        """Send the deferred records again but those that were tried just now.

        Raises:
            UserError, …: the store does not answer; it can be tried again.
        """
        if self.deferred:
            self.open()
        for number, refusal in sorted(self.deferred.items()):
            if time.monotonic() - refusal.instant > RETRY_AFTER:
                self._send(number)

    def _send(self, number: int) -> None:
        record, store = self.journal.records[number], self.store
        assert store is not None
        try:
            with answering(store.uri):
                self._apply(record, store)
        except Exception as error:  # of any storage's own package
            if not isinstance(record, DEFERRABLE) or not self._answers():
                raise
            why = error.__cause__ or error  # without the store's address, which is not the reason
            files = error.files if isinstance(error, FilesRefused) else {_place(record): reason_in_words(why)}
            self.deferred[number] = Refusal(files, time.monotonic())
        else:
            self.deferred.pop(number, None)
        self.sent = max(self.sent, number + 1)
        write_position(self.journal.folder, self.run_id, self.sent, self.deferred)
        if isinstance(record, WithFiles) and number not in self.deferred:
            self.journal.outbox.remove(record.parcel)

    def _answers(self) -> bool:
        """Whether the store answers, so that an error concerns only the files that could not be stored."""
        try:
            return self.run_id is not None and get_run(self._client, self.run_id) is not None
        except Exception:  # whatever it is, everything waits
            return False

    def open(self) -> Store:
        """Connect, and find out how much of the journal this store has, unless that is done already.

        The run is found by its id, or by its key, wherever it is: its experiment may have another name by now, and the
        configured one may be a new one of the old name.

        Raises:
            UserError: the run was deleted, another machine has resumed it, or its artifacts would go to a location
                that is not trusted or to another project's folder.
            UserError, MlflowException, OSError, …: the store does not answer; it can be tried again.
        """
        if self.store is None:
            uri = tracking_uri(self.tracking.uri)
            run = self._known_run(uri)
            if run is None:
                store = open_store(self.tracking)
                self._client = connect(uri)
                with answering(uri):
                    run = run_with_key(self._client, self.journal.folder.name)
                # A store that does not have the run as it was known gets the journal from the start.
                self.run_id, self.sent = None, 0
                self.deferred.clear()
            if run is not None:
                store = self._own_store(run, uri)
            self.store = store  # last, so that an attempt that failed half way is repeated
        return self.store

    def _known_run(self, uri: str) -> Run | None:
        """The run that an earlier process created, by its id; None if the store does not have it."""
        database = database_file(uri)
        if self.run_id is None or (database is not None and not database.is_file()):
            return None
        with answering(uri):
            self._client = connect(uri, writes=True)
            run = get_run(self._client, self.run_id)
        return run if run is not None and run.data.tags.get("run_key") == self.journal.folder.name else None

    def _own_store(self, run: Run, uri: str) -> Store:
        """The store with the experiment that the run is in now.

        Raises:
            UserError: nothing may be sent to the run. If this process sent the rest of one that another machine has
                resumed, the history would have two versions of an epoch, and the run would end while it is alive.
        """
        store = Store(uri, str(run.info.experiment_id))
        rest = f"what else {self.journal.folder} contains is not sent"
        with answering(uri):
            if (deleted := deletion(self._client, run)) is not None:
                raise UserError(f"run {run.info.run_id}: {deleted}; {rest}")
            check_place(self._client.get_experiment(store.experiment_id), uri)
        run_id = _checked_run_id(run, store)
        owner = owner_elsewhere(self.journal.records, run.data.tags)
        if owner is not None and not self._shared:
            raise UserError(f"run {run_id}: has since been resumed{where(owner)}; {rest}")
        ends = {record.status for record in self.journal.of(Status)}
        if run.info.status == "FINISHED" and "FINISHED" not in ends and not self._shared:
            raise UserError(f"run {run_id}: has since finished in another copy of this folder; {rest}")
        self.run_id = run_id
        return store

    def heartbeat(self, instant: float) -> None:
        """Notify other machines that the run is alive.

        Args:
            instant: seconds since the epoch.
        """
        if self.store is not None and self.run_id is not None:
            with answering(self.store.uri):
                self._client.set_tag(self.run_id, "heartbeat", f"{instant:.0f}")

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
            run = run_with_key(self._client, key)
            if run is None:
                tags = {**begin.tags, "run_key": key}
                if begin.parent is not None:
                    tags[MLFLOW_PARENT_RUN_ID] = self._parent_id(begin.parent)
                run = self._client.create_run(
                    store.experiment_id, start_time=begin.time, run_name=begin.name, tags=tags
                )
            self.run_id = _checked_run_id(run, store)

    def _parent_id(self, key: str) -> str:
        """MLflow's id of the sweep that the run is a trial of.

        Raises:
            UserError: it is not in MLflow yet; the process that has its journal sends it.
        """
        found = run_with_key(self._client, key)
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


def _place(record: Record) -> str:
    """What a record's files are called in messages."""
    if isinstance(record, Images):
        return f"the {record.split} images of step {record.step}"
    if isinstance(record, ModelScores):
        return f"the model's scores on {record.dataset}"
    if isinstance(record, View):
        return "the view of the sweep"
    return record.place if isinstance(record, Artifacts) else "the model"
