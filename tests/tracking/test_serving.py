"""The signature of the logged model, its parameters, and how a wrong call is refused."""

import json
import logging

import numpy as np
import pytest

from pipeline.tracking.serving import SIGNATURE, BadRequest, Wanted, refuse_unknown_params


def test_parameters_have_defaults_and_ranges() -> None:
    assert Wanted.of(None) == Wanted.of({}) == Wanted(probabilities=False, scale=1.0)
    assert {spec.name: spec.default for spec in SIGNATURE.params.params} == {"probabilities": False, "scale": 1.0}
    assert Wanted.of({"probabilities": True, "scale": None}) == Wanted(probabilities=True)
    for scale in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(BadRequest, match=r"^scale=.*: a number above 0 and at most 1 expected"):
            Wanted.of({"scale": scale})


@pytest.mark.parametrize(("scale", "size"), [(1.0, (21, 34)), (0.5, (10, 17)), (0.001, (1, 1))])
def test_scale_is_a_share_of_each_side(scale: float, size: tuple[int, int]) -> None:
    assert Wanted(scale=scale).size(np.zeros((21, 34, 3), np.uint8)) == size


def test_the_servers_answer_is_the_line_alone() -> None:
    error = BadRequest("image 0: \x1b is no image")
    error.message = f"Failed to predict data '{'x' * 1000}'. \nError: {error.message}"  # as MLflow's server does
    answer = json.loads(error.serialize_as_json())
    assert answer == {"error_code": "INVALID_PARAMETER_VALUE", "message": "image 0: \\x1b is no image"}
    assert error.get_http_status_code() == 400
    assert len(BadRequest("x" * 5000).fault) == 500


def test_unknown_parameters_are_refused_for_this_model_alone() -> None:
    refuse_unknown_params()
    refuse_unknown_params()
    logger = logging.getLogger("mlflow.models.utils")
    assert len([found for found in logger.filters if type(found).__name__ == "RefuseUnknownParams"]) == 1
    warning = "Unrecognized params ['scal', 'b'] are ignored for inference. Supported params are: {%s}. To enable …"
    with pytest.raises(BadRequest, match=r"^params: unknown 'scal' \(did you mean 'scale'\?\); the params are "):
        logger.warning(warning % "'scale', 'probabilities'")
    logger.warning(warning % "'scale', 'temperature'")
    logger.warning("Something else")
