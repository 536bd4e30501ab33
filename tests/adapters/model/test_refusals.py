"""A refused or filtered answer is `Refused` on every wire, or the message with the reason as its text."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from modelwire.budgets import budget
from modelwire.caches import InMemoryCache
from modelwire.errors import InvalidArgument, ModelRefusalError, Refused
from modelwire.messages import AIMessage, HumanMessage, merge_chunks, message_chunk_to_message
from modelwire.messages.refusals import refusal_in
from modelwire.testing import Answer, ProviderServer

WIRES = ["openai", "responses", "anthropic", "bedrock", "gemini"]
WORDS = "I cannot help with that."
PART = "Once upon a"
SPENT = {"input_tokens": 7, "output_tokens": 5}
SCENES = {
    "refusal": Answer(refusal=WORDS, usage=SPENT),
    "filtered": Answer(PART, stop="content_filter", usage=SPENT),
    "filtered, nothing came": Answer("", stop="content_filter", usage=SPENT),
}
WAYS = ["invoke", "streaming", "stream"]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(default="A whole answer.") as server:
        yield server


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wire", WIRES)
def test_a_refused_answer_is_an_error(
    server: ProviderServer, colour: Any, wire: Any, way: str, scene: str
) -> None:
    server.say(SCENES[scene])
    model = server.model(wire, streaming=way == "streaming")
    with pytest.raises(Refused) as caught:
        if way == "stream":
            colour.stream(model, "hi")
        else:
            colour.invoke(model, "hi")
    error = caught.value
    assert type(error) is Refused
    assert not error.retryable
    assert server.counts.requests == 1
    if scene == "filtered":
        assert error.partial.text == PART
    elif scene == "refusal" and wire in ("openai", "responses"):
        assert WORDS in error.message
        assert (refusal_in(error.partial) or {})["refusal"] == WORDS
    assert error.partial.usage_metadata["output_tokens"] == 5
    assert type(pickle.loads(pickle.dumps(error))) is Refused


@pytest.mark.parametrize("wire", WIRES)
def test_the_chunks_that_came_leave_before_the_error(
    server: ProviderServer, colour: Any, wire: Any
) -> None:
    server.say(SCENES["filtered"])
    received: list[str] = []
    model = server.model(wire)

    def read() -> None:
        for chunk in model.stream("hi"):
            received.append(str(chunk.text))

    async def aread() -> None:
        async for chunk in model.astream("hi"):
            received.append(str(chunk.text))

    with pytest.raises(Refused) as caught:
        colour.run(read, aread)
    assert "".join(received) == PART
    assert caught.value.partial.text == PART


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wire", WIRES)
def test_on_refusal_message_returns_the_message(
    server: ProviderServer, colour: Any, wire: Any, way: str, scene: str
) -> None:
    server.say(SCENES[scene])
    model = server.model(wire, streaming=way == "streaming", on_refusal="message")
    if way == "stream":
        chunks = colour.stream(model, "hi")
        assert chunks[-1].chunk_position == "last"
        message = message_chunk_to_message(merge_chunks(chunks))
    else:
        message = colour.invoke(model, "hi")
    wanted = {"refusal": WORDS, "filtered": PART}
    assert message.text == wanted.get(scene, "")
    assert refusal_in(message) is not None
    assert message.usage_metadata["output_tokens"] == 5
    colour.invoke(model, [HumanMessage("hi"), message, HumanMessage("so?")])  # it can go back
    assert server.counts.requests == 2


def test_on_refusal_is_a_setting_of_a_call_too(server: ProviderServer, colour: Any) -> None:
    server.say(*[SCENES["refusal"]] * 2)
    message = colour.invoke(server.model(), "hi", on_refusal="message")
    assert message.text == WORDS
    assert b"on_refusal" not in server.requests[0].body
    with pytest.raises(Refused):
        colour.invoke(server.model(on_refusal="message"), "hi", on_refusal="raise")
    with pytest.raises(InvalidArgument, match="on_refusal"):
        server.model(on_refusal="ignore")


def test_a_blocked_prompt_of_gemini_says_why(server: ProviderServer, colour: Any) -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "Not this."}}
    server.say(body, body)
    with pytest.raises(Refused, match=r"blocked the prompt \(SAFETY\): Not this\.") as caught:
        colour.invoke(server.model("gemini"), "hi")
    assert caught.value.type == "SAFETY"
    assert caught.value.body["prompt_feedback"] == body["promptFeedback"]
    message = colour.invoke(server.model("gemini", on_refusal="message"), "hi")
    assert message.text == "Not this."


@pytest.mark.parametrize("way", WAYS)
def test_a_refused_answer_was_paid_for(server: ProviderServer, colour: Any, way: str) -> None:
    server.say(SCENES["refusal"])
    model = server.model(streaming=way == "streaming")
    with budget(tokens=1_000_000) as spending, pytest.raises(Refused):
        if way == "stream":
            colour.stream(model, "hi")
        else:
            colour.invoke(model, "hi")
    assert (spending.spent.tokens, spending.spent.calls) == (12, 1)


def test_a_fallback_answers_what_the_first_model_refuses(
    server: ProviderServer, colour: Any
) -> None:
    server.say(SCENES["refusal"], "Gladly.", SCENES["filtered, nothing came"], "Gladly.")
    chain = server.model("openai").with_fallbacks([server.model("anthropic")])
    assert colour.invoke(chain, "hi").text == "Gladly."
    assert merge_chunks(colour.stream(chain, "hi")).text == "Gladly."


def test_a_refused_answer_stays_out_of_the_cache(server: ProviderServer, colour: Any) -> None:
    cache = InMemoryCache()
    server.say(SCENES["refusal"], SCENES["refusal"], "Gladly.")
    assert colour.invoke(server.model(cache=cache, on_refusal="message"), "hi").text == WORDS
    with pytest.raises(Refused):
        colour.invoke(server.model(cache=cache), "hi")
    assert colour.invoke(server.model(cache=cache), "hi").text == "Gladly."
    assert server.counts.requests == 3


def test_a_structured_answer_has_its_own_error_for_a_refusal(
    server: ProviderServer, colour: Any
) -> None:
    schema = {"title": "a", "type": "object", "properties": {"b": {"type": "string"}}}
    server.say(SCENES["refusal"], SCENES["refusal"])
    with pytest.raises(ModelRefusalError, match="cannot help"):
        colour.invoke(server.model().with_structured_output(schema), "hi")
    found = colour.invoke(server.model().with_structured_output(schema, include_raw=True), "hi")
    assert isinstance(found["parsing_error"], ModelRefusalError)
    assert isinstance(found["raw"], AIMessage)


class _Form(BaseModel):
    name: str


@pytest.mark.parametrize(
    "form", [_Form, list[_Form], {"type": "array", "items": {"type": "string"}}]
)
@pytest.mark.parametrize("wire", WIRES)
def test_a_refusal_is_the_answer_of_a_structured_output_that_asks_for_it(
    server: ProviderServer, colour: Any, wire: Any, form: Any
) -> None:
    server.default = SCENES["refusal"]
    chain = server.model(wire).with_structured_output(form, on_refusal="message")
    for answer in (colour.invoke(chain, "hi"), colour.stream(chain, "hi")[-1]):
        assert type(answer) is AIMessage
        assert refusal_in(answer) is not None
    with pytest.raises(ModelRefusalError):
        colour.invoke(server.model(wire).with_structured_output(form), "hi")


def test_a_structured_output_refuses_another_word_for_refusals(server: ProviderServer) -> None:
    with pytest.raises(InvalidArgument, match='must be "raise" or "message"'):
        server.model().with_structured_output(_Form, on_refusal="ignore")
