"""A program whose provider vanishes after its first event: how does a call that waits for the next one end?

Run in a network namespace of its own: `unshare --net python vanished_peer_program.py ROAD`. It takes the namespace's
only interface down, so that no packet arrives any more, and prints how the stream ends.
"""

import asyncio
import subprocess
import sys
from typing import Any

from support.raw_server import CHUNKED, RawServer, chunk

from modelwire.adapters import ChatOpenAI

FIRST = b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'


def set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


async def collect(model: Any) -> None:
    async for _ in model.astream("hi"):
        set_loopback("down")


def main(road: str) -> None:
    set_loopback("up")
    server = RawServer([[CHUNKED + chunk(FIRST), 600.0]])
    engine: Any = {"engine": "aiohttp"} if road == "aiohttp" else {}
    settings = {"max_retries": 0, "stream_idle_timeout": 590.0, "tcp_keepalive": (1, 1, 1)}
    model: Any = ChatOpenAI(model="m", api_key="k", base_url=server.url, **settings, **engine)
    try:
        if road == "sync":
            for _ in model.stream("hi"):
                set_loopback("down")
        else:
            asyncio.run(collect(model))
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is printed
        cause = exc.__cause__
        print(type(exc).__name__, type(cause).__name__, cause)


if __name__ == "__main__":
    main(*sys.argv[1:])
