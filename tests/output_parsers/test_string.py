from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.callbacks import BaseCallbackHandler
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.output_parsers import StrOutputParser
from modelwire.outputs import Generation


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("plain", "plain"),
        (AIMessage("hi"), "hi"),
        (HumanMessage("hi"), "hi"),
        (
            AIMessage(
                [{"type": "reasoning", "reasoning": "r"}, {"type": "text", "text": "a"}, "b"]
            ),
            "ab",
        ),
        (AIMessage([]), ""),
    ],
)
def test_the_text_of_an_answer_is_returned_as_str(colour: Any, answer: Any, text: str) -> None:
    result = colour.invoke(StrOutputParser(), answer)
    assert result == text
    assert type(result) is str or isinstance(answer, AIMessage)


@given(st.lists(st.text(max_size=4), max_size=10))
def test_tokens_pass_one_by_one(texts: list[str]) -> None:
    chunks = [AIMessageChunk(text) for text in texts]
    assert list(StrOutputParser().transform(iter(chunks))) == texts


def test_blocks_in_chunks_are_reduced_to_text(colour: Any) -> None:
    chunks = [AIMessageChunk([{"type": "text", "text": "a", "index": 0}]), AIMessageChunk("b"), "c"]
    assert colour.transform(StrOutputParser(), chunks) == ["a", "b", "c"]


def test_one_token_in_is_one_token_out() -> None:
    taken: list[int] = []

    def tokens() -> Iterator[AIMessageChunk]:
        for i in range(3):
            taken.append(i)
            yield AIMessageChunk(str(i))

    stream = StrOutputParser().transform(tokens())
    assert taken == []
    assert next(stream) == "0"
    assert taken == [0]


def test_leaving_the_stream_early_closes_its_source() -> None:
    closed: list[str] = []

    def tokens() -> Iterator[AIMessageChunk]:
        try:
            while True:
                yield AIMessageChunk("x")
        finally:
            closed.append("sync")

    async def atokens() -> AsyncIterator[AIMessageChunk]:
        try:
            while True:
                yield AIMessageChunk("x")
        finally:
            closed.append("async")

    stream = StrOutputParser().transform(tokens())
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    async def main() -> None:
        astream = StrOutputParser().atransform(atokens())
        await anext(astream)
        await astream.aclose()  # type: ignore[attr-defined]
        assert closed == ["sync", "async"]

    asyncio.run(main())


def test_a_subclass_that_parses_is_asked_in_every_way_of_calling(colour: Any) -> None:
    class Shout(StrOutputParser):
        def parse(self, text: str) -> str:
            return text.upper()

    assert colour.invoke(Shout(), AIMessage("hi")) == "HI"
    assert colour.transform(Shout(), [AIMessageChunk("a"), "b"]) == ["A", "B"]


def test_a_stream_that_is_heard_ends_with_its_sums(colour: Any) -> None:
    heard: list[Any] = []

    class Ear(BaseCallbackHandler):
        run_inline = True

        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            heard.append((kwargs["name"], inputs))

        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            heard.append((outputs, kwargs["inputs"]))

    chunks = [AIMessageChunk("a"), AIMessageChunk("b")]
    assert colour.transform(StrOutputParser(), chunks, {"callbacks": [Ear()]}) == ["a", "b"]
    assert heard == [("StrOutputParser", {"input": ""}), ("ab", AIMessageChunk("ab"))]


def test_the_hooks_of_a_parser_are_all_there(colour: Any) -> None:
    parser = StrOutputParser()
    result = [Generation(text="x")]
    assert colour.run(lambda: parser.parse("x"), lambda: parser.aparse("x")) == "x"
    assert (
        colour.run(lambda: parser.parse_result(result), lambda: parser.aparse_result(result)) == "x"
    )
    assert "text" in parser.get_format_instructions()


def test_parsers_are_values() -> None:
    assert StrOutputParser() == StrOutputParser() == pickle.loads(pickle.dumps(StrOutputParser()))
    assert StrOutputParser(name="mine").get_name() == "mine"
