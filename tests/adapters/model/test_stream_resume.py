"""Streams that are cut and go on: nothing before the seam is lost or doubled, on any wire, wherever the cut is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx2
import pytest

from modelwire.adapters.model.stream_resume import may_overlap, overlap
from modelwire.adapters.wires.wire import loaded, wire_named
from modelwire.errors import InvalidArgument, Refused, StreamInterrupted
from modelwire.messages import merge_chunks, message_chunk_to_message
from modelwire.testing import Answer, ProviderServer, faults
from modelwire.testing.server.wires import WIRES, Call, answer_reply

ALL = ["openai", "responses", "anthropic", "bedrock", "gemini"]
WORDS = [
    f"{start}{end}"
    for start in ("ka", "lo", "mi", "ru", "se")
    for end in ("bel", "dor", "fin", "gat")
]


def text_of(seed: int) -> str:
    """Return a text in which no eight characters come twice in a row of 200."""
    rng = Random(seed)
    return " ".join(f"{rng.choice(WORDS)}{number}" for number in range(rng.randint(3, 60)))


class Cut(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, data: bytes, at: int | None) -> None:
        self.data, self.at = data, at

    def pieces(self) -> Iterator[bytes]:
        data = self.data if self.at is None else self.data[: self.at]
        for start in range(0, len(data), 173):
            yield data[start : start + 173]
        if self.at is not None:
            raise httpx2.ReadError("reset by peer")

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces()

    async def __aiter__(self) -> Any:
        for piece in self.pieces():
            yield piece


class Provider:
    """Streams a text, is cut at the given bytes, and goes on from the part that a request carries."""

    def __init__(self, wire: str, text: str, cuts: list[float], repeats: int = 0) -> None:
        self.wire, self.text, self.cuts, self.repeats = wire, text, cuts, repeats
        self.bodies: list[Any] = []
        self.urls: list[str] = []
        self.events: list[bytes] = []
        self.answer = Answer(text, usage={"input_tokens": 7, "output_tokens": 5})

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.read() or b"{}")
        self.bodies.append(body)
        self.urls.append(f"{request.url.path}?{dict(request.url.params)}")
        number = len(self.bodies)
        if request.method == "GET":
            after = int(request.url.params["starting_after"])
            parts = [
                it
                for it in self.events
                if json.loads(it.split(b"data: ")[1])["sequence_number"] > after
            ]
            return self.response(parts, {"content-type": "text/event-stream"})
        part = part_in(body)
        answer = self.answer
        if part:
            again = part[len(part) - min(self.repeats, len(part)) :] if self.repeats else ""
            answer = Answer(
                again + self.text[len(part) :], usage={"input_tokens": 9, "output_tokens": 2}
            )
        call = Call(self.wire, number, "m", True, answer.tokens(100))
        reply = answer_reply(answer, call)
        self.events = reply.parts
        return self.response(reply.parts, reply.headers)

    def response(self, parts: list[bytes], headers: Any) -> httpx2.Response:
        data = b"".join(parts)
        at = int(self.cuts.pop(0) * len(data)) if self.cuts else None
        return httpx2.Response(200, headers=headers, stream=Cut(data, at))

    def model(self, **settings: Any) -> Any:
        known = wire_named(self.wire)
        own: dict[str, Any] = {"model": WIRES[self.wire].model, "api_key": "k"}
        own["base_url"] = "https://provider.test" + known.version_path
        transport = httpx2.MockTransport(self.handle)
        own["http_client"] = httpx2.Client(transport=transport)
        own["http_async_client"] = httpx2.AsyncClient(transport=transport)
        made: Any = loaded(known.model_class)(**{**own, **known.model_options, **settings})
        return made


def part_in(body: Any) -> str:
    """Return the text of the last turn of the model in a request."""
    turns = body.get("messages") or body.get("input") or body.get("contents") or []
    for turn in reversed(turns if isinstance(turns, list) else []):
        if turn.get("role") in ("assistant", "model"):
            content = turn.get("content", turn.get("parts"))
            if isinstance(content, str):
                return content
            return "".join(str(block.get("text", "")) for block in content)
    return ""


def check_anchored(wire: str, seed: int, read: Any) -> None:
    rng = Random(seed)
    text = text_of(seed)
    cuts = [rng.random() for _ in range(rng.choice((1, 1, 2)))]
    provider = Provider(wire, text, cuts, repeats=rng.choice((0, 0, rng.randint(8, 60))))
    settings = {}
    if wire == "anthropic" and seed % 2:
        settings["model"] = "claude-sonnet-4-5"
    chunks = read(provider.model(stream_resume="anchored", **settings))
    assert "".join(str(chunk.text) for chunk in chunks) == text
    message = message_chunk_to_message(merge_chunks(chunks))
    assert message.text == text
    assert chunks[-1].chunk_position == "last"
    seams = [
        chunk.response_metadata["resumed_at"]
        for chunk in chunks
        if "resumed_at" in chunk.response_metadata
    ]
    assert len(provider.bodies) >= len(seams) + 1
    if seams:
        assert message.response_metadata["resumed_at"] == seams[-1]
        assert message.usage_metadata["total_tokens"] > 11


def check_lossless(seed: int, read: Any) -> None:
    rng = Random(seed)
    text = text_of(seed)
    whole = read(Provider("responses", text, []).model(), background=True)
    cuts = [rng.random() for _ in range(rng.randint(1, 3))]
    provider = Provider("responses", text, cuts)
    chunks = read(provider.model(stream_resume="lossless"), background=True)
    assert [chunk.text for chunk in chunks] == [chunk.text for chunk in whole]
    one, other = (message_chunk_to_message(merge_chunks(it)).model_dump() for it in (chunks, whole))
    for dumped in (one, other):
        for name in ("id", "request_id", "maybe_billed_attempts"):
            dumped["response_metadata"].pop(name, None)
        dumped.pop("id", None)
        for block in dumped["content"]:
            block.pop("id", None)
    assert one == other, {
        name: (one[name], other[name]) for name in one if one[name] != other[name]
    }


def read(model: Any, **kwargs: Any) -> list[Any]:
    return list(model.stream("Tell me.", **kwargs))


@pytest.mark.parametrize("wire", ALL)
def test_80_streams_cut_anywhere_lose_nothing_and_double_nothing(wire: str) -> None:
    for seed in range(80):
        check_anchored(wire, seed, read)


@pytest.mark.long
def test_100_lossless_streams_are_as_if_never_cut() -> None:
    for seed in range(100):
        check_lossless(seed, read)


@pytest.mark.long
@pytest.mark.parametrize("wire", ALL)
def test_1600_streams_cut_anywhere_lose_nothing_and_double_nothing(wire: str) -> None:
    for seed in range(1000, 2600):
        check_anchored(wire, seed, read)


@pytest.mark.long
def test_2000_lossless_streams_are_as_if_never_cut() -> None:
    for seed in range(1000, 3000):
        check_lossless(seed, read)


@pytest.mark.parametrize("wire", ALL)
def test_async_streams_go_on_too(wire: str, colour: Any) -> None:
    for seed in range(5):
        check_anchored(wire, seed, lambda model: colour.stream(model, "Tell me."))
    for seed in range(5):
        check_lossless(seed, lambda model, **kwargs: colour.stream(model, "Tell me.", **kwargs))


def test_a_model_that_takes_a_prefill_gets_the_part_alone() -> None:
    text = text_of(1)
    provider = Provider("anthropic", text, [0.6])
    chunks = read(provider.model(stream_resume="anchored", model="claude-sonnet-4-5"))
    assert "".join(chunk.text for chunk in chunks) == text
    assert [turn["role"] for turn in provider.bodies[1]["messages"]] == ["user", "assistant"]
    provider = Provider("anthropic", text, [0.6])
    read(provider.model(stream_resume="anchored", model="claude-opus-4-8"))
    assert [turn["role"] for turn in provider.bodies[1]["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


def test_without_the_setting_a_cut_stream_raises(colour: Any) -> None:
    provider = Provider("openai", text_of(1), [0.6])
    with pytest.raises(StreamInterrupted):
        colour.stream(provider.model(), "hi")
    provider = Provider("openai", text_of(1), [0.6])
    chunks = colour.stream(provider.model(), "hi", stream_resume="anchored")
    assert "".join(chunk.text for chunk in chunks) == text_of(1)
    assert "stream_resume" not in provider.bodies[0]


def test_tool_calls_begin_anew_behind_the_marker(colour: Any) -> None:
    args = {"city": "Bern", "when": "tomorrow at noon", "unit": "celsius"}
    provider = Provider("openai", "", [0.85])
    provider.answer = Answer("Let me look.", tool_calls=[{"name": "weather", "args": args}])
    chunks = colour.stream(provider.model(stream_resume="anchored"), "hi")
    assert any(chunk.response_metadata.get("stream_restart") for chunk in chunks)
    message = message_chunk_to_message(merge_chunks(chunks))
    assert [call["args"] for call in message.tool_calls] == [args]
    assert message.text == "Let me look."
    assert len(provider.bodies[1]["messages"]) == 1


def test_a_structured_answer_begins_anew(colour: Any) -> None:
    provider = Provider("openai", '{"city": "Bern", "people": 134000}', [0.8])
    form = {"type": "json_object"}
    chunks = colour.stream(provider.model(stream_resume="anchored"), "hi", response_format=form)
    assert merge_chunks(chunks).text == '{"city": "Bern", "people": 134000}'
    assert len(provider.bodies[1]["messages"]) == 1


def test_a_stream_that_never_comes_through_raises_with_all_that_came(colour: Any) -> None:
    text = text_of(3)
    provider = Provider("openai", text, [0.5] * 20)
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(provider.model(stream_resume="anchored"), "hi")
    assert len(provider.bodies) < 20
    assert text.startswith(caught.value.partial.text)
    assert len(caught.value.partial.text) > len(text) // 3


def test_lossless_needs_the_background() -> None:
    with pytest.raises(InvalidArgument, match="lossless"):
        read(Provider("openai", "a", []).model(stream_resume="lossless"))
    with pytest.raises(InvalidArgument, match="background"):
        read(Provider("responses", "a", []).model(stream_resume="lossless"))
    with pytest.raises(InvalidArgument, match="stream_resume"):
        Provider("openai", "a", []).model(stream_resume="yes")


def test_lossless_asks_for_the_events_after_the_last_one() -> None:
    provider = Provider("responses", text_of(2), [0.5])
    read(provider.model(stream_resume="lossless"), background=True)
    assert len(provider.urls) == 2
    assert provider.urls[1].startswith(
        "/v1/responses/resp_1?{'stream': 'true', 'starting_after': '"
    )


@pytest.mark.parametrize(
    ("tail", "text", "size"),
    [
        ("one two three", " two three four", 10),
        ("one two three", "one two three four", 13),
        ("one two three", " four", 0),
        ("hel", "lo", 0),
        ("hel", "hello", 3),
        ("one two ", " three", 1),
        ("aaaaaaaaaaaa", "aaaaaaaaaaaa", 12),
        ("", "a", 0),
    ],
)
def test_the_longest_repetition_is_found(tail: str, text: str, size: int) -> None:
    assert overlap(tail, text) == size


def test_text_is_held_back_only_while_it_may_repeat_the_part() -> None:
    assert may_overlap("one two three", "two")
    assert not may_overlap("one two three", "four")
    assert not may_overlap("one", "one")


def test_the_fallback_continues_what_the_first_model_cannot(colour: Any) -> None:
    text = text_of(5)
    first, second = Provider("openai", text, [0.5, *[0.0] * 40]), Provider("anthropic", text, [])
    model = first.model(stream_resume="anchored", max_retries=0)
    chain = model.with_fallbacks([second.model(model="claude-opus-4-8")])
    chunks = colour.stream(chain, "Tell me.")
    assert "".join(str(chunk.text) for chunk in chunks) == text
    assert part_in(second.bodies[0])
    assert text.startswith(part_in(second.bodies[0]))
    seams = [it for it in chunks if "resumed_at" in it.response_metadata]
    assert len(seams) == 1
    plain = Provider("openai", text, [0.5, *[0.0] * 40])
    with pytest.raises(StreamInterrupted):
        colour.stream(plain.model().with_fallbacks([second.model()]), "Tell me.")


def test_a_refusal_behind_a_seam_is_refused(colour: Any) -> None:
    text = text_of(7)
    provider = Provider("openai", text, [0.5])
    original = provider.handle

    def handle(request: httpx2.Request) -> httpx2.Response:
        if len(provider.bodies) == 1:
            provider.wire, kept = "openai", provider.text
            part = part_in(json.loads(request.read()))
            answer = Answer(kept[len(part) : len(part) + 20], stop="content_filter")
            provider.bodies.append(json.loads(request.read()))
            call = Call("openai", 2, "m", True, answer.tokens(100))
            reply = answer_reply(answer, call)
            return provider.response(reply.parts, reply.headers)
        return original(request)

    provider.handle = handle  # type: ignore[method-assign]
    with pytest.raises(Refused) as caught:
        colour.stream(provider.model(stream_resume="anchored"), "Tell me.")
    assert text.startswith(caught.value.partial.text)
    assert len(provider.bodies) == 2


@pytest.mark.parametrize("at", [200, 2000, 3000])
def test_the_test_server_resumes_a_background_stream(at: int, colour: Any) -> None:
    text = text_of(9)
    with ProviderServer([faults.cut(after_bytes=at).on(text)], default=text) as server:
        model = server.model("responses", stream_resume="lossless")
        chunks = colour.stream(model, "Tell me.", background=True)
        assert "".join(str(chunk.text) for chunk in chunks) == text
        assert server.counts.requests == 2
