"""The pytest fixtures. pytest loads this in every session where modelwire is installed: nothing heavy at its top."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modelwire.testing.server.provider_server import ProviderServer

__all__ = ["provider_server"]


@pytest.fixture
def provider_server() -> Iterator[ProviderServer]:
    """Give a running `ProviderServer` of this test's own: `say` what it shall answer, read what it saw."""
    from modelwire.testing.server.provider_server import ProviderServer

    with ProviderServer() as server:
        yield server
