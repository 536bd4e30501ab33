"""How many functions of ours one `ainvoke` enters, or an `invoke` over the user's client, in a process of its own.

What other tests did to the process (a network that was closed, tools that watch) would be counted too.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

from support.raw_provider import RawProvider

import modelwire
from modelwire.adapters import (
    ChatAnthropic,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
)
from modelwire.transport.observer import CallObserver

OURS = str(Path(modelwire.__file__).parent)


def own_calls(model: ChatOpenAI, config: Any = None) -> int:
    """Return the least of five counts, as the garbage of others may be collected in one."""
    counts: list[int] = []

    def count(frame: Any, event: str, arg: Any) -> None:
        counts[-1] += event == "call" and frame.f_code.co_filename.startswith(OURS)

    async def run() -> None:
        for _ in range(5):
            await model.ainvoke("hi", config)
        for _ in range(5):
            counts.append(0)
            sys.setprofile(count)
            try:
                await model.ainvoke("hi", config)
            finally:
                sys.setprofile(None)

    asyncio.run(run())
    return min(counts)


def invoke_calls(model: Any) -> int:
    """Return the least of three counts of an `invoke`."""
    counts: list[int] = []

    def count(frame: Any, event: str, arg: Any) -> None:
        counts[-1] += event == "call" and frame.f_code.co_filename.startswith(OURS)

    model.invoke("hi")
    for _ in range(3):
        counts.append(0)
        sys.setprofile(count)
        try:
            model.invoke("hi")
        finally:
            sys.setprofile(None)
    return min(counts)


def client_answering(answer: dict[str, Any]) -> Any:
    import httpx2

    return httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer))
    )


USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
MESSAGE = {
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}],
}
CANDIDATE = {
    "content": {"parts": [{"text": "hi"}], "role": "model"},
    "finishReason": "STOP",
    "index": 0,
}
COUNTS = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
BLOCKS = {"message": {"role": "assistant", "content": [{"text": "hi"}]}}
# A model of each wire, and what it is answered.
WIRES: list[tuple[Any, dict[str, Any]]] = [
    (
        partial(ChatOpenAI, model="m", api_key="k"),
        {"id": "1", "model": "m", "choices": [CHOICE], "usage": USAGE},
    ),
    (
        partial(ChatAnthropic, model="m", api_key="k"),
        {**MESSAGE, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}},
    ),
    (
        partial(ChatGoogleGenerativeAI, model="gemini-2.5-flash", api_key="k"),
        {
            "candidates": [CANDIDATE],
            "usageMetadata": COUNTS,
            "modelVersion": "gemini-2.5-flash",
            "responseId": "1",
        },
    ),
    (
        partial(
            ChatBedrockConverse,
            model="us.amazon.nova-lite-v1:0",
            api_key="k",
            region_name="us-east-1",
        ),
        {
            "output": BLOCKS,
            "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
        },
    ),
]


if __name__ == "__main__":
    import httpx2  # noqa: F401 - so that calls take the way that tools can watch

    with RawProvider(lambda since_s, text: 200) as server:
        model = ChatOpenAI(model="gpt-test", api_key="test-key", base_url=server.base_url)
        print(own_calls(model), own_calls(model, {"observers": (CallObserver(),)}), end=" ")
    for make, answer in WIRES:
        with client_answering(answer) as client:
            print(invoke_calls(make(http_client=client)), end=" ")
