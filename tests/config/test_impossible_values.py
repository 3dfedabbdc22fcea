"""Values that no machine can compute with, and folders that this machine does not have."""

import pytest

from pipeline.config.overrides import checked_config
from pipeline.runtime.errors import UserError


def faults_of(*overrides: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        checked_config(overrides)
    return list(raised.value.faults)


@pytest.mark.parametrize("override", ['dataset.root="~nobody-at-all/VOC"', 'data_dir="~nobody-at-all/VOC"'])
@pytest.mark.parametrize("others", [(), ("dataset.classes=[a,b]",)])
def test_the_home_folder_of_an_unknown_user_is_named(override: str, others: tuple[str, ...]) -> None:
    (fault,) = faults_of("dataset=folder", *(() if "root" in override else ("dataset.root=x",)), override, *others)
    assert fault.startswith(override.replace('"', "") + ": ~nobody-at-all is not the home folder of a user")


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (f"epochs={'9' * 400}", "epochs: a whole number of 1329 bits; at most 63 expected"),
        (f"epochs=-{'9' * 400}", "epochs: a whole number of 1329 bits; at most 63 expected"),
        (f"dataset.limit={2**63}", "dataset.limit: a whole number of 64 bits; at most 63 expected"),
        (f"optimizer.learning_rate={'9' * 400}", "a number of at most 308 digits expected"),
        (f"evaluate.scales=[1,{'9' * 400}]", "a number of at most 308 digits expected"),
        (f"epochs={'9' * 5000}", "epochs: a number of more than 4300 digits; a shorter one expected"),
        (
            f"dataset.classes=[a,{'9' * 5000}]",
            "dataset.classes: a number of more than 4300 digits; a shorter one expected",
        ),
    ],
)
def test_a_number_that_nothing_can_compute_with_is_refused(override: str, fault: str) -> None:
    assert faults_of(override) == [fault if fault.startswith(override.partition("=")[0]) else f"{override}: {fault}"]
