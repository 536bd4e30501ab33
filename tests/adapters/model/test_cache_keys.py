"""What names a call in a cache, and which answers are kept: what changes the answer, and what is final."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from support.mocked import answered_by
from support.provider_bodies import anthropic_answer, openai_answer

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.caches import InMemoryCache
from modelwire.errors import Timeout
from modelwire.messages import HumanMessage
from modelwire.outputs import ChatGeneration


class Counted:
    """Answers by wire, and counts; `status` is of the Responses API."""

    def __init__(self, status: str = "completed") -> None:
        self.calls = 0
        self.status = status

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.calls += 1
        path = request.url.path
        if path.endswith("/messages"):
            return httpx2.Response(200, json=anthropic_answer(f"answer {self.calls}"))
        if path.endswith("/chat/completions"):
            return httpx2.Response(200, json=openai_answer(f"answer {self.calls}"))
        parts = [{"type": "output_text", "text": f"answer {self.calls}", "annotations": []}]
        item = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": parts,
        }
        said = {"id": "resp_1", "object": "response", "model": "gpt-5", "status": self.status}
        return httpx2.Response(
            200, json={**said, "output": [item] if self.status == "completed" else []}
        )


WIRES: dict[str, Any] = {
    "chat": lambda **given: ChatOpenAI(**{"model": "m", "api_key": "k", **given}),
    "responses": lambda **given: ChatOpenAI(
        **{"model": "gpt-5", "api_key": "k", "use_responses_api": True, **given}
    ),
    "messages": lambda **given: ChatAnthropic(**{"model": "m", "api_key": "k", **given}),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("where", ["default_headers", "extra_headers", "call", "client"])
def test_a_header_that_may_change_the_answer_makes_another_call(
    colour: Any, wire: str, where: str
) -> None:
    provider, cache = Counted(), InMemoryCache()

    def ask(headers: dict[str, str]) -> str:
        clients = answered_by(provider)
        if where == "client":
            for client in clients.values():
                client.headers.update(headers)
        given = {where: headers} if where.endswith("headers") else {}
        model = WIRES[wire](cache=cache, **clients, **given)
        text: str = colour.invoke(
            model, "hi", **({"extra_headers": headers} if where == "call" else {})
        ).text
        return text

    assert ask({"x-tenant": "blue"}) == ask({"X-Tenant": "blue"}) == "answer 1"
    assert ask({"x-tenant": "red"}) == "answer 2"
    assert ask({"x-tenant": "blue"}) == "answer 1"
    for name in ("X-Request-Id", "Traceparent", "Authorization", "User-Agent", "x-stainless-lang"):
        assert ask({"x-tenant": "blue", name: "other"}) == "answer 1"


def test_the_headers_of_an_sdks_client_count(colour: Any) -> None:
    provider, cache = Counted(), InMemoryCache()

    def ask(tenant: str) -> Any:
        clients = answered_by(provider)
        headers = {"x-tenant": tenant}
        sdk = openai.OpenAI(
            api_key="k", http_client=clients["http_client"], default_headers=headers
        )
        asdk = openai.AsyncOpenAI(
            api_key="k", http_client=clients["http_async_client"], default_headers=headers
        )
        return colour.invoke(
            ChatOpenAI(model="m", client=sdk, async_client=asdk, cache=cache), "hi"
        ).text

    assert [ask("blue"), ask("red"), ask("blue")] == ["answer 1", "answer 2", "answer 1"]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_is_not_final_is_not_kept(colour: Any, status: str) -> None:
    provider, cache = Counted(status), InMemoryCache()
    model = WIRES["responses"](cache=cache, **answered_by(provider))
    with pytest.raises(Timeout):  # it is polled until the call's time is over
        colour.invoke(model, "hi", {"timeout": 0.2})
    provider.status, made = "completed", provider.calls
    assert colour.invoke(model, "hi").text == f"answer {made + 1}"
    assert colour.invoke(model, "hi").text == f"answer {made + 1}"


@pytest.mark.parametrize("call", [{"background": True}, {"conversation": "conv_1"}])
@pytest.mark.parametrize("way", ["invoke", "batch"])
def test_calls_that_go_on_or_leave_something_at_the_provider_are_each_made(
    colour: Any, call: dict[str, Any], way: str
) -> None:
    provider = Counted()
    model = WIRES["responses"](cache=InMemoryCache(), **answered_by(provider))
    for _ in range(2):
        colour.invoke(model, "hi", **call) if way == "invoke" else colour.batch(
            model, ["hi", "hi"], **call
        )
    assert provider.calls == (2 if way == "invoke" else 4)


def test_code_in_a_container_that_others_have_used_is_run_each_time(colour: Any) -> None:
    provider = Counted()
    model = WIRES["messages"](cache=InMemoryCache(), **answered_by(provider))
    for container in (
        "box-1",
        "box-1",
        {"id": "box-1"},
        {"skills": [{"id": "s"}]},
        {"skills": [{"id": "s"}]},
    ):
        colour.invoke(model, "hi", container=container)
    assert provider.calls == 4


@pytest.mark.parametrize("wire", WIRES)
def test_a_row_of_a_cache_that_is_no_answer_is_replaced(
    colour: Any, wire: str, caplog: Any
) -> None:
    provider, cache = Counted(), InMemoryCache()
    model = WIRES[wire](cache=cache, **answered_by(provider))
    key = model._cache_key([HumanMessage("hi")], None, {})
    cache.update(*key, [ChatGeneration(message=HumanMessage("poison"))])  # type: ignore[list-item]
    assert colour.invoke(model, "hi").text == "answer 1"
    assert "`human`" in caplog.text
    assert colour.invoke(model, "hi").text == "answer 1"
    cache.update(*key, [ChatGeneration(message=HumanMessage("poison"))])  # type: ignore[list-item]
    assert json.dumps([chunk.text for chunk in colour.stream(model, "hi")]).count("poison") == 0
