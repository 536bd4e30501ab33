"""Connections that are open before the first call."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import ConnectFailed, InvalidArgument
from modelwire.jobs import run_job
from modelwire.runnables.background import background_loop
from modelwire.testing import ProviderServer

HEAD = b"HTTP/1.1 404 Not Found\r\ncontent-length: 100\r\n\r\n"
BODY = b'{"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"content":"a"}}]}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


def test_calls_go_over_the_connections_that_were_opened(raw_server: Any) -> None:
    server = raw_server([[HEAD]] * 20)
    model = ChatOpenAI(model="m", base_url=server.url, api_key="canary-key")
    assert model.warmup(10) == 10
    assert server.connections == 20  # ten for calls, and ten for batches and jobs
    assert all(
        request.startswith(b"HEAD /v1") and b"canary-key" not in request
        for request in server.requests
    )
    assert model.warmup(0) == 0


def test_async_calls_go_over_the_connections_of_their_loop(raw_server: Any) -> None:
    server = raw_server([[HEAD]] * 12 + [[ANSWER]] * 4)
    model = ChatOpenAI(model="m", base_url=server.url)

    async def both() -> tuple[int, list[Any]]:
        opened = await model.awarmup(12)
        return opened, await asyncio.gather(*(model.ainvoke("x") for _ in range(4)))

    opened, answers = asyncio.run(both())
    assert (opened, len(answers)) == (12, 4)
    assert server.connections == 12


def test_sync_calls_need_no_new_connection(raw_server: Any) -> None:
    server = raw_server([[HEAD], [ANSWER], [ANSWER]])
    model = ChatOpenAI(model="m", base_url=server.url)
    model.warmup()
    model.invoke("x")
    model.invoke("x")
    assert server.connections == 1


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_twenty_calls_at_once_go_over_twenty_connections_that_were_opened(wire: Any) -> None:
    with ProviderServer(latency=0.2) as server:
        model = server.model(wire, rate_limit=None)

        async def both() -> int:
            warmed = await model.awarmup(20)  # type: ignore[attr-defined]
            assert (warmed, server.counts.connections) == (20, 20)
            return len(await asyncio.gather(*(model.ainvoke("x") for _ in range(20))))

        assert asyncio.run(both()) == 20
        assert server.counts.max_in_flight == 20
        assert server.counts.connections == 20


def test_batches_jobs_and_threads_need_no_new_connection(tmp_path: Path) -> None:
    with ProviderServer(latency=0.2) as server:
        model = server.model(rate_limit=None)
        assert model.warmup(20) == 20  # type: ignore[attr-defined]
        assert server.counts.connections == 40
        assert len(model.batch(["x"] * 20)) == 20
        assert server.counts.max_in_flight == 20
        with ThreadPoolExecutor(20) as threads:
            assert len(list(threads.map(model.invoke, ["x"] * 20))) == 20
        rows = [{"x": n} for n in range(20)]
        done = run_job(
            "{x}",
            rows,
            model=model,
            output=tmp_path / "out.jsonl",
            job_dir=tmp_path / "job",
            quiet=True,
        )
        assert len(list(done)) == 20
        assert server.counts.connections == 40


def test_warming_up_on_the_background_loop_does_not_wait_for_itself() -> None:
    with ProviderServer() as server:
        model: Any = server.model()

        async def warm() -> int:
            return int(model.warmup(3))

        assert asyncio.run_coroutine_threadsafe(warm(), background_loop().loop).result(10) == 3


@pytest.mark.parametrize("n", [-1, 1001, 2.5, "3", True])
def test_a_count_that_cannot_be_is_refused(n: Any) -> None:
    with pytest.raises(InvalidArgument, match="`n`"):
        ChatAnthropic(model="m", base_url="http://127.0.0.1:9").warmup(n)


def test_nobody_there_is_the_errors_of_the_wire() -> None:
    model = ChatOpenAI(model="m", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ConnectFailed):
        model.warmup(3)
    with pytest.raises(ConnectFailed):
        asyncio.run(model.awarmup(3))


def test_a_client_of_the_users_own_is_left_alone() -> None:
    import httpx2

    with httpx2.Client() as client:
        assert (
            ChatOpenAI(model="m", base_url="http://127.0.0.1:1/v1", http_client=client).warmup(3)
            == 0
        )
