"""Files of a run that wait to be sent to MLflow: each folder is a parcel, named by a record of the run's journal."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.errors import RunFailed
from pipeline.runtime.files import flush_all


class Outbox:
    """The outbox of one run, a folder of parcels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, parcel: str) -> Path:
        """The folder of a parcel."""
        return self.folder / os.path.basename(parcel)

    def copy(self, source: Path, parcel: str) -> None:
        """Copy a folder into the outbox, by hard links where the file system has them.

        Raises:
            RunFailed: it cannot be written.
        """
        with self._writing(parcel):
            shutil.copytree(source, self.path(parcel), copy_function=_link)

    def move(self, source: Path, parcel: str) -> None:
        """Move a folder into the outbox.

        Raises:
            RunFailed: it cannot be written.
        """
        with self._writing(parcel):
            source.rename(self.path(parcel))

    def remove(self, parcel: str) -> None:
        """Remove a parcel, if it is there."""
        shutil.rmtree(self.path(parcel), ignore_errors=True)

    def remove_all_except(self, parcels: Collection[str]) -> None:
        """Remove parcels that no record names: the process that made them died before it wrote the record."""
        for path in self.folder.glob("*"):
            if path.name not in parcels:
                shutil.rmtree(path)

    @contextmanager
    def _writing(self, parcel: str) -> Iterator[None]:
        """Make the outbox, let the block write a parcel, and have it on the disk, before a record promises it."""
        place = self.path(parcel)
        try:
            self.folder.mkdir(exist_ok=True)
            yield
            flush_all([*place.rglob("*"), place, self.folder])
        except OSError as error:
            # `copytree` collects its errors as a list of (file, copy, reason).
            reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
            raise RunFailed(f"{place}: cannot be written: {reason}") from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
