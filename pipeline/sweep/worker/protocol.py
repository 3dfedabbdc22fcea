"""What a sweep and its warm child process say to each other: JSON objects."""

from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Tell = Callable[[Message], None]
Work = Callable[[Message, Tell], Message]
