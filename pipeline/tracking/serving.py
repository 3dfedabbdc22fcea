"""How the logged model is called, from Python and through MLflow's server: its signature, parameters, and refusals.

The signature is one of objects, since MLflow's schemas know either arrays or texts, and images come as both.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from pipeline.runtime.text import nearest, plain

IMAGE = "image"  # the name of the input: a column of a data frame, a key of an instance
PROBABILITIES, SCALE = "probabilities", "scale"
LONGEST_FAULT = 500  # characters: a fault may quote what was sent

SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(object), (-1,), IMAGE)]),
    outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
    params=ParamSchema([ParamSpec(PROBABILITIES, "boolean", False), ParamSpec(SCALE, "double", 1.0)]),
)


class BadRequest(MlflowException):
    """Something that the model cannot predict. MLflow's server answers with status 400 and this one line."""

    def __init__(self, fault: str) -> None:
        self.fault = plain(fault)[:LONGEST_FAULT]
        super().__init__(self.fault, error_code=INVALID_PARAMETER_VALUE)

    def serialize_as_json(self) -> str:
        """The server's answer, without all that was sent, which MLflow puts before the message."""
        return json.dumps({"error_code": self.error_code, "message": self.fault})


@dataclass(frozen=True)
class Wanted:
    """The parameters of a call."""

    probabilities: bool = False  # instead of class indices
    scale: float = 1.0  # height and width of the result, as a share of the image's

    @classmethod
    def of(cls, params: Mapping[str, Any] | None) -> "Wanted":
        """Those that were given, whose types MLflow has checked.

        Raises:
            BadRequest: the scale is out of its range.
        """
        found = cls(**{name: value for name, value in (params or {}).items() if value is not None})
        if not 0 < found.scale <= 1:
            raise BadRequest(
                f"scale={found.scale:g}: a number above 0 and at most 1 expected: the height and width of what is "
                "returned, as a share of the image's"
            )
        return found

    def size(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width of the result, at least one pixel each.

        Args:
            image: (height, width, 3).
        """
        height, width = (max(1, round(side * self.scale)) for side in image.shape[:2])
        return height, width


class RefuseUnknownParams(logging.Filter):
    """Makes an error of MLflow's warning that it leaves out parameters which are not in this model's signature.

    A caller of the server would not see the warning. This depends on the words of the MLflow that is pinned with the
    model; where its logger is switched off, such parameters are left out as MLflow does by itself.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Raises: BadRequest: it is such a warning."""
        found = re.match(r"Unrecognized params \[(.*)\] are ignored .* are: \{(.*)\}", record.getMessage())
        names = [PROBABILITIES, SCALE]
        if found is None or set(re.findall(r"'(\w+)'", found[2])) != set(names):  # of another model
            return True
        unknown = re.findall(r"'([^']*)'|\"([^\"]*)\"", found[1])
        first = next("".join(name) for name in unknown)
        raise BadRequest(f"params: unknown '{first}'{nearest(first, names)}; the params are {' and '.join(names)}")


REFUSE_UNKNOWN_PARAMS = RefuseUnknownParams()


def refuse_unknown_params() -> None:
    """Have unknown parameters refused in this process, for models with this signature."""
    logging.getLogger("mlflow.models.utils").addFilter(REFUSE_UNKNOWN_PARAMS)  # the same one is added once
