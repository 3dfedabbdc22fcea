"""The one exception for mistakes that the user can mend: it ends a command with status 2 and no traceback."""


class UserError(Exception):
    """Everything found wrong with the user's input, one clear line a fault.

    A line names the key or the file, the value, what was expected, and the nearest valid choice.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RunFailed(Exception):
    """A run that had to stop for a reason that one line tells: status 1, no traceback."""


class RerunDiffers(Exception):
    """A rerun that had to give the same results gave others: status 3."""
