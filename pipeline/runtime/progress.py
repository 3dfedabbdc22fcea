"""How long work tells its caller how far it is: a plain callback, so that nothing below knows of a terminal."""

from collections.abc import Callable

# (what is being done, how much is done, how much there is in all or None where unknown), in bytes or in images.
# Called often: the receiver thins it out.
Progress = Callable[[str, int, int | None], None]


def silent(what: str, done: int, total: int | None) -> None:
    """Show nothing."""
