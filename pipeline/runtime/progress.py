"""How long-running work reports its progress: a plain callback, so that the work does not depend on a terminal."""

from collections.abc import Callable

# (what is being done, how much is done, how much there is in total or None if unknown), in bytes or in images.
# It is called often: the receiver decides how often to show something.
Progress = Callable[[str, int, int | None], None]


def silent(what: str, done: int, total: int | None) -> None:
    """Show nothing."""
