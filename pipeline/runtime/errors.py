"""Errors that end a command with a message and an exit status, without a traceback (`pipeline.runtime.cli`)."""


class UserError(Exception):
    """Everything found wrong with the user's input, one line for each fault; exit status 2.

    A line names the key or the file, the value, what was expected, and the nearest valid choice.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RunFailed(Exception):
    """A run that had to stop, for a reason that its message explains in one line; exit status 1."""


class RerunDiffers(Exception):
    """A rerun that was required to give the same results gave different ones; exit status 3."""
