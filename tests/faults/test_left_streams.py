"""R14b and P29: an async stream that its consumer has left is closed by its own loop, and harms no other call."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.raw_server import CHUNKED, RawServer, chunk

from modelwire.adapters import ChatOpenAI
from modelwire.testing import ProviderServer
from modelwire.transport.connections import pools

PROGRAM = Path(__file__).parents[1] / "support" / "left_streams_program.py"
NOTHING_STAYS = {"failed": [], "places": 0, "sockets": 0, "tasks": 0}


def leave_streams(
    engine: str, streamed: str, threshold: int, *, streams: int, calls: int
) -> tuple[Any, str]:
    """Run the program; return what it reports, and all that was printed beside it."""
    if engine == "aiohttp":
        pytest.importorskip("aiohttp")
    with ProviderServer(chunk_gap_s=0.05) as server:
        arguments = [server.base_url_for("openai"), engine, streamed, threshold, streams, calls]
        command = [sys.executable, str(PROGRAM), *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return json.loads(ended.stdout or "null"), ended.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine", "streamed"),
    [
        ("httpx2", "model"),
        ("aiohttp", "model"),
        pytest.param("client", "model", marks=pytest.mark.long),
        pytest.param("httpx2", "chain", marks=pytest.mark.long),
    ],
)
def test_left_streams_harm_no_other_call(engine: str, streamed: str) -> None:
    assert leave_streams(engine, streamed, 10, streams=40, calls=80) == (NOTHING_STAYS, "")


@pytest.mark.long
@pytest.mark.parametrize("threshold", [700, 10])
@pytest.mark.parametrize("engine", ["httpx2", "aiohttp", "client"])
def test_p29_twelve_hundred_left_streams_beside_two_thousand_calls(
    engine: str, threshold: int
) -> None:
    assert leave_streams(engine, "model", threshold, streams=1200, calls=2000) == (
        NOTHING_STAYS,
        "",
    )


def test_a_left_stream_is_closed_by_its_loop(
    raw_server: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    ended: list[bytes] = []
    server = raw_server([[CHUNKED, chunk(event), lambda peer: ended.append(peer.recv(10))]])
    model = ChatOpenAI(model="m", base_url=server.url, api_key="k", max_retries=0)
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    async def consume() -> None:
        chunks = model.astream("hi")
        async for _ in chunks:
            raise LookupError

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        task = asyncio.create_task(consume())
        await asyncio.wait([task])
        cycle: list[Any] = [task.exception()]
        cycle.append(cycle)
        (pool,) = pools._loop_pools[loop].by_settings.values()
        assert pool.in_flight == 1
        del task, cycle
        gc.collect()
        for _ in range(200):
            if ended and pool.in_flight == 0:
                break
            await asyncio.sleep(0.01)
        assert (ended, pool.in_flight, complaints) == ([b""], 0, [])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
