"""The server's prompt cache reads and writes prefixes by the rules of each provider, and counts both in the usage."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import to_json

from modelwire.adapters.wires.anthropic.families import LEAST_CACHED_TOKENS
from modelwire.errors import BadRequest
from modelwire.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from modelwire.testing import Answer, ProviderServer
from modelwire.testing.server.prompt_cache import MINIMUMS, Cached, PromptCache, Refused
from modelwire.testing.server.requests import SeenRequest

MANUAL = "A sentence of the manual. " * 400  # some 2,600 tokens
MARK = {"type": "ephemeral"}


def request(body: dict[str, Any], key: str = "k") -> SeenRequest:
    seen = SeenRequest("POST", "/v1/messages", {"x-api-key": key}, to_json(body))
    seen.wire = "anthropic"
    return seen


def messages_body(*texts: str, marked: tuple[int, ...] = (), ttl: str | None = None) -> Any:
    """Return a body with a text block for each text; those at the `marked` places have a mark."""
    mark = {**MARK, "ttl": ttl} if ttl else MARK
    blocks = [{"type": "text", "text": text} for text in texts]
    for at in marked:
        blocks[at]["cache_control"] = mark  # type: ignore[assignment]
    return {"model": "claude-test", "messages": [{"role": "user", "content": blocks}]}


def called(cache: PromptCache, body: Any, now_s: float = 0.0, **about: Any) -> Cached:
    found = cache.look_up("anthropic", request(body, **about), now_s)
    assert isinstance(found, Cached), found
    cache.store(found, now_s)
    return found


def test_a_marked_prefix_is_written_and_then_read() -> None:
    cache = PromptCache()
    first = called(cache, messages_body(MANUAL, "a", marked=(0,)))
    second = called(cache, messages_body(MANUAL, "b", marked=(0,)), 1.0)
    assert first.read == 0
    assert second.read == first.all_written > 2000
    assert second.all_written == 0


def test_without_a_mark_nothing_is_cached() -> None:
    cache = PromptCache()
    assert called(cache, messages_body(MANUAL)).all_written == 0
    assert called(cache, messages_body(MANUAL)).read == 0


def test_a_prefix_below_the_minimum_is_not_cached() -> None:
    cache = PromptCache()
    assert called(cache, messages_body("short", marked=(0,))).all_written == 0


@pytest.mark.parametrize(("ttl", "lifetime_s"), [(None, 300), ("1h", 3600)])
def test_a_prefix_lives_from_its_last_use(ttl: str | None, lifetime_s: int) -> None:
    cache = PromptCache()
    body = messages_body(MANUAL, marked=(0,), ttl=ttl)
    called(cache, body, 0)
    assert called(cache, body, lifetime_s - 1).read
    assert called(cache, body, 2 * lifetime_s - 2).read
    assert not called(cache, body, 4 * lifetime_s).read


def test_a_prefix_can_be_read_once_the_answer_of_its_writer_has_begun() -> None:
    cache = PromptCache()
    body = messages_body(MANUAL, marked=(0,))
    written = cache.look_up("anthropic", request(body), 0.0)
    assert isinstance(written, Cached)
    cache.store(written, 2.0)
    assert called(cache, body, 1.0).read == 0
    assert called(cache, body, 2.0).read > 0


def test_another_key_another_model_or_a_changed_block_reads_nothing() -> None:
    cache = PromptCache()
    body = messages_body(MANUAL, marked=(0,))
    called(cache, body)
    assert called(cache, {**body, "model": "claude-other"}).read == 0
    assert called(cache, body, key="another").read == 0
    assert called(cache, messages_body(f"x{MANUAL}", marked=(0,))).read == 0


def test_a_mark_looks_back_20_blocks() -> None:
    cache = PromptCache()
    called(cache, messages_body(MANUAL, marked=(0,)))
    near = messages_body(MANUAL, *"abcdefghijklmnopqrs", marked=(19,))
    far = messages_body(MANUAL, *"ABCDEFGHIJKLMNOPQRST", marked=(20,))
    assert called(cache, near).read > 0
    assert called(cache, far).read == 0


def test_tools_and_system_stay_cached_when_the_choice_of_tools_changes() -> None:
    cache = PromptCache()
    system = [{"type": "text", "text": MANUAL, "cache_control": MARK}]
    body = messages_body(MANUAL, marked=(0,)) | {"system": system}
    both = called(cache, body)
    again = called(cache, body | {"tool_choice": {"type": "any"}})
    assert 0 < again.read < both.all_written


def test_both_lifetimes_are_counted_apart() -> None:
    cache = PromptCache()
    long = [{"type": "text", "text": MANUAL, "cache_control": {**MARK, "ttl": "1h"}}]
    counts = called(cache, messages_body(MANUAL, marked=(0,)) | {"system": long})
    assert counts.written.keys() == {"1h", "5m"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (messages_body(*"abcde", marked=(0, 1, 2, 3, 4)), "Found 5"),
        (messages_body("", marked=(0,)), "empty text"),
        (
            messages_body("a", marked=(0,), ttl="1h")
            | {"system": [{"type": "text", "text": "s", "cache_control": MARK}]},
            "must not come after",
        ),
    ],
)
def test_wrong_marks_are_rejected(body: Any, why: str) -> None:
    refused = PromptCache().look_up("anthropic", request(body), 0.0)
    assert isinstance(refused, Refused)
    assert why in refused.message


def test_a_fifth_mark_is_a_400_of_the_provider() -> None:
    block = {"type": "text", "text": "a", "cache_control": MARK}
    with ProviderServer() as server, pytest.raises(BadRequest, match="maximum of 4 blocks"):
        server.model("anthropic").invoke([HumanMessage([block] * 5)])


def test_the_minimums_agree_with_those_of_the_adapters() -> None:
    ours = dict(LEAST_CACHED_TOKENS)
    shared = [name for name, _ in MINIMUMS if name in ours]
    assert len(shared) > 6
    assert {name: ours[name] for name in shared} == {name: dict(MINIMUMS)[name] for name in shared}


MODELS = {
    "openai": {"model": "gpt-5.1"},
    "responses": {"model": "gpt-5.1"},
    "anthropic": {"model": "claude-sonnet-4-5"},
    "bedrock": {"model": "anthropic.claude-sonnet-4-5-20250929-v1:0"},
    "gemini": {"model": "gemini-2.5-flash"},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", MODELS)
def test_reads_are_counted_in_the_usage_of_every_wire(wire: Any, *, stream: bool) -> None:
    history: list[AnyMessage] = [SystemMessage(MANUAL), HumanMessage("What is it?")]
    with ProviderServer(default="It is a manual.") as server:
        model = server.model(wire, **MODELS[wire], prompt_cache=True, streaming=stream)
        first = model.invoke(history)
        history += [AIMessage(first.text), HumanMessage("And then?")]
        second = model.invoke(history)
    usage = second.usage_metadata
    assert usage is not None
    details = usage["input_token_details"]
    assert 2000 < details["cache_read"] < usage["input_tokens"]
    if wire in ("anthropic", "bedrock"):
        written = first.usage_metadata["input_token_details"]
        assert written["cache_creation"] == written["ephemeral_5m_input_tokens"] > 2000
        assert 0 < details["cache_creation"] < 100


def test_gpt_5_6_counts_what_it_writes() -> None:
    with ProviderServer() as server:
        model = server.model("openai", model="gpt-5.6", prompt_cache=True)
        written = model.invoke(MANUAL).usage_metadata["input_token_details"]
        read = model.invoke(MANUAL).usage_metadata["input_token_details"]
    assert written["cache_creation"] == read["cache_read"] > 2000


def test_the_usage_of_the_script_wins() -> None:
    answer = Answer("a", usage={"input_tokens": 7})
    with ProviderServer(default=answer) as server:
        model = server.model("openai")
        for _ in range(2):
            usage = model.invoke(MANUAL).usage_metadata
    assert usage["input_tokens"] == 7
    assert usage["input_token_details"]["cache_read"] == 0
