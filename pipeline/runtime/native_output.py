"""What libraries print below Python, straight to file descriptor 2."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from pipeline.runtime.errors import UserError


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """While the block runs, nothing is printed on stderr; if it fails otherwise than by a UserError, all is."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except Exception:
            sys.stderr.flush()
            printed.seek(0)
            os.write(stderr, printed.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
