from __future__ import annotations

import threading
from typing import Any

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidType, OutputParserException
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.output_parsers import (
    BaseCumulativeTransformOutputParser,
    BaseGenerationOutputParser,
    BaseOutputParser,
    BaseTransformOutputParser,
    StrOutputParser,
)
from modelwire.outputs import ChatGeneration, Generation


class YesOrNo(BaseOutputParser[bool]):
    yes: str = "yes"

    def parse(self, text: str) -> bool:
        answer = text.strip().lower()
        if answer not in {self.yes, "no"}:
            raise OutputParserException(f"Neither yes nor no: {text!r}", llm_output=text)
        return answer == self.yes


class Swap(BaseGenerationOutputParser[str]):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> str:
        assert isinstance(result[0], ChatGeneration)
        return result[0].text.swapcase()


class Lengths(BaseTransformOutputParser[int]):
    def parse(self, text: str) -> int:
        return len(text)


class Words(BaseCumulativeTransformOutputParser[list[str]]):
    def parse(self, text: str) -> list[str]:
        return text.split()

    def _diff(self, prev: list[str] | None, next: list[str]) -> list[str]:
        return next[len(prev or []) :]


def test_a_parser_needs_only_parse(colour: Any) -> None:
    assert colour.invoke(YesOrNo(), AIMessage(" Yes\n")) is True
    assert colour.invoke(YesOrNo(yes="ja"), "no") is False
    assert colour.batch(YesOrNo(), ["yes", "no"]) == [True, False]
    with pytest.raises(ValueError, match="Neither") as caught:
        colour.invoke(YesOrNo(), "perhaps")
    assert isinstance(caught.value, OutputParserException)
    assert caught.value.llm_output == "perhaps"


def test_a_generation_parser_sees_the_message(colour: Any) -> None:
    assert colour.invoke(Swap(), AIMessage("aBc")) == "AbC"


@pytest.mark.parametrize("wrong", [3, None, {"a": 1}, [HumanMessage("x")]])
@pytest.mark.parametrize(
    "parser", [YesOrNo(), Swap(), StrOutputParser(), Lengths()], ids=lambda p: type(p).__name__
)
def test_what_is_no_answer_is_refused(colour: Any, parser: Any, wrong: Any) -> None:
    with pytest.raises(
        InvalidType, match=f"`{type(parser).__name__}` parses a message or a text, not a"
    ):
        colour.invoke(parser, wrong)


def test_the_output_type_is_the_one_declared() -> None:
    assert YesOrNo().OutputType is bool
    assert Swap().OutputType is str
    assert Words().OutputType == list[str]
    assert StrOutputParser().OutputType is str

    class Silent(BaseOutputParser):  # type: ignore[type-arg]
        def parse(self, text: str) -> Any:
            return text

    with pytest.raises(InvalidType, match="does not declare what it returns"):
        _ = Silent().OutputType


def test_subscripting_makes_no_class() -> None:
    assert BaseOutputParser[int] == BaseOutputParser[int]
    assert not isinstance(BaseOutputParser[int], type)


def test_a_transform_parser_parses_chunk_by_chunk(colour: Any) -> None:
    chunks = [AIMessageChunk("ab"), AIMessageChunk(""), "cde"]
    assert colour.transform(Lengths(), chunks) == [2, 0, 3]


def test_a_cumulative_parser_yields_what_changed(colour: Any) -> None:
    for chunks in (
        ["a", "", " b", "c", " "],
        [AIMessageChunk(text) for text in ("a", "", " b", "c", " ")],
    ):
        assert colour.transform(Words(), chunks) == [["a"], ["a", "b"], ["a", "bc"]]
        assert colour.transform(Words(diff=True), chunks) == [["a"], ["b"], []]


def test_a_whole_message_in_a_stream_is_all_there_is(colour: Any) -> None:
    assert colour.transform(Words(), [AIMessage("a b")]) == [["a", "b"]]
    with pytest.raises(InvalidType):
        colour.transform(Words(), [3])


def test_a_cumulative_parser_without_a_diff_says_so(colour: Any) -> None:
    class NoDiff(BaseCumulativeTransformOutputParser[str]):
        def parse(self, text: str) -> str:
            return text

    with pytest.raises(NotImplementedError, match="NoDiff"):
        colour.transform(NoDiff(diff=True), ["a"])


def test_a_users_parse_does_not_block_the_loop_and_an_async_one_is_used() -> None:
    import asyncio

    class Where(BaseOutputParser[bool]):
        def parse(self, text: str) -> bool:
            return threading.current_thread() is threading.main_thread()

    class Twin(Where):
        async def aparse(self, text: str) -> bool:
            return threading.current_thread() is threading.main_thread()

    assert asyncio.run(Where().ainvoke("x")) is False
    assert asyncio.run(Twin().ainvoke("x")) is True
    assert not Where()._loop_native()
    assert Twin()._loop_native()
    assert StrOutputParser()._loop_native()


def test_a_parser_is_heard_as_a_parser(colour: Any) -> None:
    heard: list[Any] = []

    class Ear(BaseCallbackHandler):
        run_inline = True

        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            heard.append((kwargs["name"], kwargs["run_type"], inputs))

        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            heard.append((outputs, kwargs.get("inputs")))

        def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
            heard.append(type(error))

    config = {"callbacks": [Ear()]}
    colour.invoke(YesOrNo(), "yes", config)
    assert heard == [("YesOrNo", "parser", "yes"), (True, None)]
    heard.clear()
    with pytest.raises(OutputParserException):
        colour.invoke(YesOrNo(), "perhaps", config)
    assert heard == [("YesOrNo", "parser", "perhaps"), OutputParserException]
    heard.clear()
    assert colour.transform(Words(), ["a", " b"], config) == [["a"], ["a", "b"]]
    assert heard == [("Words", "parser", {"input": ""}), (["a", "b"], "a b")]


def test_instructions_and_type_are_the_subclass_affair() -> None:
    with pytest.raises(NotImplementedError, match="YesOrNo"):
        YesOrNo().get_format_instructions()
    with pytest.raises(NotImplementedError, match="YesOrNo"):
        YesOrNo().asdict()
    assert StrOutputParser().asdict()["_type"] == "default"
    assert YesOrNo().parse_with_prompt("yes", prompt=None) is True  # type: ignore[arg-type]
