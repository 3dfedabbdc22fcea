"""Conditions on runs, as `best/val_mean_iou > 0.5 and model.width = 8`: compared here, never evaluated as code."""

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(rf"\s*(\S.*?)\s*({'|'.join(COMPARISONS)})\s*(.*?)\s*", re.DOTALL)
EXAMPLE = 'where="best/val_mean_iou > 0.5 and model.width = 8"'


@dataclass(frozen=True)
class Condition:
    """One comparison of a run's value with a constant."""

    name: str
    comparison: str
    value: str

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a run meets the condition; one without the value meets none but `!=`.

        Numbers are compared as numbers, everything else as text, for which only = and != have a meaning.

        Raises:
            UserError: the value is text, and the comparison one of order.
        """
        found = row.get(self.name)
        if found is None:
            return self.comparison == "!=" if self.value != "null" else self.comparison in ("=", "==")
        if self.value == "null":
            return self.comparison == "!="
        if not isinstance(found, bool) and isinstance(found, int | float):
            try:
                number = float(found)
            except OverflowError:  # a whole number of hundreds of digits, of another project's run
                number = math.inf if found > 0 else -math.inf
            return COMPARISONS[self.comparison](number, self._number())
        if self.comparison not in ("=", "==", "!="):
            raise UserError(f"where: {self.name} is text, such as {str(found)[:40]!r}; = or != expected")
        text = str(found).lower() if isinstance(found, bool) else str(found)
        return COMPARISONS[self.comparison](text, self.value)

    def _number(self) -> float:
        try:
            return float(self.value)
        except ValueError as error:
            raise UserError(f"where: {self.name} is a number, so '{self.value}' cannot be compared with it") from error


def parse_conditions(text: str) -> list[Condition]:
    """The conditions of a text; they are joined by `and`.

    Raises:
        UserError: a part of it is no condition.
    """
    conditions = []
    for part in re.split(r"(?:^|\s+)and(?=\s|$)", text.strip(), flags=re.IGNORECASE):
        match = CONDITION.fullmatch(part)
        if match is None or not match[3]:
            raise UserError(f"where: '{part}': a name, one of {' '.join(COMPARISONS)}, and a value expected: {EXAMPLE}")
        quoted = re.fullmatch(r"'(.*)'|\"(.*)\"", match[3])
        value = match[3] if quoted is None else quoted[1] if quoted[1] is not None else quoted[2]
        conditions.append(Condition(match[1], match[2], value))
    return conditions


def check_names(conditions: Collection[Condition], known: Collection[str]) -> None:
    """Check that some run, or the configuration, has each name.

    Raises:
        UserError: with a line for each that is unknown.
    """
    unknown = [condition.name for condition in conditions if condition.name not in known]
    if unknown:
        raise UserError(
            *(
                f"where: {name}: no key of the configuration, metric or tag of these runs{nearest(name, list(known))}"
                for name in unknown
            )
        )
