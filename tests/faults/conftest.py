"""What the fault tests share: short waits between tries, and a provider on loopback for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelwire.testing import ProviderServer
from modelwire.transport import retry
from modelwire.transport.governor import gate


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: how long the waits are is told by the tests of `transport`."""
    monkeypatch.setattr(retry, "_TRANSIENT_FIRST_S", 0.01)
    monkeypatch.setattr(gate, "_PAUSE_FIRST_S", 0.02)


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture(params=["openai", "responses", "anthropic"])
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
