"""Long heads of Gemini's prompts are stored under a name, renewed and deleted; short ones are left to the provider."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from modelwire import prompt_caches
from modelwire.adapters import ChatVertexAI
from modelwire.adapters.model import stored_prompts
from modelwire.errors import InvalidArgument
from modelwire.messages import AnyMessage, HumanMessage, SystemMessage
from modelwire.testing import Answer, ProviderServer
from modelwire.testing.server.requests import SeenRequest
from modelwire.testing.server.wires import error_reply

RULES = SystemMessage("Answer in one sentence, and name the page of the manual. " * 700)  # 40 KB
MODEL = "gemini-2.5-flash"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    stored_prompts._heads.clear()


def without_implicit_caching(request: SeenRequest) -> Answer:
    """Answer as a provider that reads nothing from a cache but what is stored under a name."""
    if "cachedContent" in request.fields:
        return Answer(request.text)
    return Answer(request.text, usage={"input_tokens": len(request.content) // 4})


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(default=without_implicit_caching) as server:
        yield server


def gemini(server: ProviderServer, **settings: Any) -> Any:
    return server.model("gemini", **{"model": MODEL, "prompt_cache": True, **settings})


def asked(question: str) -> list[AnyMessage]:
    return [RULES, HumanMessage(question)]


def requests(server: ProviderServer) -> list[str]:
    """Return the requests, each as its method and the end of its path."""
    return [f"{seen.method} {seen.path.rpartition('/')[2]}" for seen in server.requests]


CALL = f"POST {MODEL}:generateContent"


def test_a_long_head_that_is_not_cached_is_stored_and_deleted_by_close(
    server: ProviderServer, colour: Any
) -> None:
    model = gemini(server)
    answers = [colour.invoke(model, asked(question)) for question in "abcd"]
    assert requests(server) == [CALL, CALL, "POST cachedContents", CALL, CALL]
    bodies = [seen.body for seen in server.requests]
    assert bodies[2]["model"] == f"models/{MODEL}"
    assert bodies[2]["ttl"] == "300s"
    assert bodies[2]["systemInstruction"] == bodies[0]["systemInstruction"]
    assert [body.get("cachedContent") for body in bodies[3:]] == ["cachedContents/stored-1"] * 2
    assert "systemInstruction" not in bodies[3]
    assert bodies[3]["contents"][0]["parts"] == [{"text": "c"}]
    reads = [one.usage_metadata["input_token_details"]["cache_read"] for one in answers]
    assert reads[3] == reads[2] > 9_000
    assert len(server.stored_prompts.stored) == 1
    prompt_caches.close()
    assert requests(server)[-1] == "DELETE stored-1"
    assert server.stored_prompts.stored == {}


def test_a_stream_reads_it_too(server: ProviderServer) -> None:
    model = gemini(server)
    for question in "abc":
        text = "".join(chunk.text for chunk in model.stream(asked(question)))
        assert text == question
    assert server.requests[-1].body["cachedContent"] == "cachedContents/stored-1"


def test_a_single_call_and_a_short_head_are_left_to_the_provider(server: ProviderServer) -> None:
    gemini(server).invoke(asked("a"))
    for question in "bcd":
        gemini(server).invoke([SystemMessage("Be brief."), HumanMessage(question)])
    assert requests(server) == [CALL] * 4


def test_a_head_that_the_provider_caches_by_itself_is_not_stored(colour: Any) -> None:
    with ProviderServer() as server:
        for question in "abcdef":
            colour.invoke(gemini(server), asked(question))
        assert requests(server) == [CALL] * 6


def test_another_head_another_key_or_another_model_is_stored_apart(server: ProviderServer) -> None:
    for settings in ({}, {"api_key": "other"}, {"model": "gemini-2.5-pro"}):
        for question in "abc":
            gemini(server, **settings).invoke(asked(question))
    assert server.stored_prompts.made == 3


def test_an_hour_is_the_lifetime_and_tools_are_stored(server: ProviderServer) -> None:
    tool = {"name": "look", "description": "Look it up. " * 4_000, "parameters": {"type": "object"}}
    for _ in range(3):
        gemini(server, prompt_cache="1h").invoke("hi", tools=[tool])
    made = server.requests[2].body
    assert made["ttl"] == "3600s"
    assert made["tools"][0]["functionDeclarations"][0]["name"] == "look"
    assert "tools" not in server.requests[3].body


def test_it_is_renewed_before_it_ends(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(stored_prompts.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(stored_prompts, "PATIENCE_S", 1e9)
    model = gemini(server)
    for later_s in (0, 5, 10, 100, 100, 10):
        now_s += later_s
        model.invoke(asked("q"))
    assert requests(server) == [
        CALL,
        CALL,
        "POST cachedContents",
        CALL,
        CALL,
        "PATCH stored-1",
        CALL,
        CALL,
    ]
    assert server.requests[5].query == "updateMask=ttl"
    now_s += 400  # it has ended meanwhile
    model.invoke(asked("q"))
    assert "cachedContent" not in server.requests[-1].body


def test_a_provider_that_does_not_store_it_gets_the_whole_prompt(
    server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "modelwire")
    server.stored_prompts.handle = _refusing  # type: ignore[method-assign]
    model = gemini(server)
    for question in "abcd":
        assert model.invoke(asked(question)).text == question
    assert requests(server) == [CALL, CALL, "POST cachedContents", CALL, CALL]
    assert all("cachedContent" not in seen.body for seen in server.requests)
    assert "A prompt is not stored for `gemini-2.5-flash`: too small" in caplog.text


def _refusing(request: Any, path: str, now_s: float) -> Any:
    if path.endswith("/cachedContents"):
        return error_reply("gemini", 400, message="too small")
    return None


def test_on_vertex_it_is_stored_in_the_project() -> None:
    model = ChatVertexAI(
        model=MODEL,
        project="p",
        location="europe-west1",
        prompt_cache=True,
        credentials=SimpleNamespace(valid=True, token="t", quota_project_id=None),
    )
    stored = model.build_request(asked("a")).storable
    assert stored.url.endswith("/v1beta1/projects/p/locations/europe-west1/cachedContents")
    assert stored.made_of == {
        "model": f"projects/p/locations/europe-west1/publishers/google/models/{MODEL}"
    }
    name = "projects/p/locations/europe-west1/cachedContents/1"
    assert stored.named_url(name) == f"{stored.url.partition('/projects/')[0]}/{name}"


def test_a_name_by_hand_wins(server: ProviderServer) -> None:
    for question in "ab":
        with pytest.raises(InvalidArgument, match="holds `systemInstruction` already"):
            gemini(server, cached_content="cachedContents/x").invoke(asked(question))
    assert requests(server) == []


def test_the_end_of_a_program_deletes_what_it_has_stored(server: ProviderServer) -> None:
    program = """
import sys
from modelwire.adapters import ChatGoogleGenerativeAI
from modelwire.messages import HumanMessage, SystemMessage
model = ChatGoogleGenerativeAI(
    model="gemini-2.5-flash", api_key="k", base_url=sys.argv[1], prompt_cache=True
)
for question in "abcd":
    model.invoke([SystemMessage("Be brief, and name the page. " * 1500), HumanMessage(question)])
"""
    command = [sys.executable, "-c", program, server.base_url_for("gemini")]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert server.stored_prompts.made == 1
    assert server.stored_prompts.stored == {}
