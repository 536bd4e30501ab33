"""What the transport's tests share."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from support.raw_server import RawServer


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(script: Sequence[Sequence[Any]], *, repeat: bool = False) -> RawServer:
        servers.append(RawServer(script, repeat=repeat))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
