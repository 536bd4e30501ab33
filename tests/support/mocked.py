"""Models that a function answers instead of a provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

# A model's settings, what it is asked (and with which tools), the call's keywords, and what a user of the SDK writes.
Case = tuple[dict[str, Any], Any, dict[str, Any], dict[str, Any]]


def answered_by(answer: Callable[[httpx2.Request], httpx2.Response]) -> dict[str, Any]:
    """Return the clients of a model, of both colours."""
    transport = httpx2.MockTransport(answer)
    return {
        "http_client": httpx2.Client(transport=transport),
        "http_async_client": httpx2.AsyncClient(transport=transport),
    }


class Sent:
    """A request, taken instead of sent, and answered by `whole` or by the bytes of a stream."""

    def __init__(self, whole: dict[str, Any], stream: bytes) -> None:
        self.body: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.path = ""
        self._whole = whole
        self._stream = stream

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.body, self.path = json.loads(request.read()), request.url.path
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        if not self.body.get("stream"):
            return httpx2.Response(200, json=self._whole)
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, content=self._stream
        )

    def by_us(self, cls: Any, case: Case, **given: Any) -> Sent:
        """Let a model of ours send the request of the case."""
        settings, asks, call, _ = case
        call = dict(call)
        with httpx2.Client(transport=httpx2.MockTransport(self)) as http_client:
            model: Any = cls(api_key="none", http_client=http_client, **{**given, **settings})
            if isinstance(asks, tuple):
                asks, tools, bound = asks
                model = model.bind_tools(tools, **bound)
            if call.pop("stream", False):
                list(model.stream(asks, **call))
            else:
                model.invoke(asks, **call)
        return self

    def by_sdk(
        self, cls: Any, create: Callable[[Any], Callable[..., Any]], **arguments: Any
    ) -> Sent:
        """Let a client of an SDK send it; `create` finds its method."""
        with (
            httpx2.Client(transport=httpx2.MockTransport(self)) as http_client,
            cls(api_key="none", max_retries=0, http_client=http_client) as client,
        ):
            made = create(client)(**arguments)
            if arguments.get("stream"):
                made.close()
        return self
