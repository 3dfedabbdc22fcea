"""Two mirrors of VOC on this machine."""

from collections.abc import Iterator

import pytest

from tests.data.download.mirror import Mirror, voc_tar


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    yield from _serve(monkeypatch)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    yield from _serve(monkeypatch)


def _serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    mirror = Mirror(voc_tar())
    yield mirror
    mirror.close()
