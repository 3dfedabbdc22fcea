"""One process at a time downloads, generates or decodes data; the others wait for it and use the result."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from pipeline.runtime.errors import UserError
from pipeline.runtime.files import locked
from pipeline.runtime.progress import Progress, silent

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what flock answers on such a file system


@contextlib.contextmanager
def data_lock(path: Path, progress: Progress = silent) -> Iterator[None]:
    """Hold the lock `.<name>.lock` next to `path`, a file or folder below `data_dir` that is about to be made.

    Args:
        progress: notified if this process has to wait for another one.

    Raises:
        UserError: the folder of `path` cannot be written, or its file system does not support locks.
    """

    def on_wait() -> None:
        progress("waiting for another process that prepares the same data", 0, None)

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path.with_name(f".{path.name}.lock"), on_wait))
        except OSError as error:
            problem = "its file system has no locks" if error.errno in NO_LOCKS else "cannot be written"
            raise UserError(f"{path}: {problem} ({error.strerror}); set another data_dir") from error
        yield
