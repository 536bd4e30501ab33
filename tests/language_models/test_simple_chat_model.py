"""Models of one's own from one function or from a stream; the old import paths."""

import asyncio
import importlib
from typing import Any

import pytest

from modelwire.adapters import BaseChatModel
from modelwire.errors import InvalidArgument
from modelwire.language_models import BaseLanguageModel, SimpleChatModel
from modelwire.language_models.chat_models import agenerate_from_stream, generate_from_stream
from modelwire.messages import AIMessageChunk
from modelwire.outputs import ChatGenerationChunk


class Shout(SimpleChatModel):
    @property
    def _llm_type(self) -> str:
        return "shout"

    def _call(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        return str(messages[-1].content).upper() + "".join(stop or ())


def test_a_function_from_messages_to_a_text_is_a_model(colour: Any) -> None:
    model = Shout()
    assert colour.invoke(model, "hi").content == "HI"
    assert colour.invoke(model, "hi", stop=["!"]).content == "HI!"
    assert [chunk.content for chunk in colour.stream(model, "hi")] == ["HI"]
    assert [answer.content for answer in colour.batch(model, ["a", "b"])] == ["A", "B"]
    assert isinstance(model, BaseLanguageModel)
    assert isinstance(model, BaseChatModel)


def chunks(*texts: str) -> list[ChatGenerationChunk]:
    return [
        ChatGenerationChunk(message=AIMessageChunk(content=text), generation_info={"n": text})
        for text in texts
    ]


def test_a_result_is_made_of_a_stream(colour: Any) -> None:
    async def source(*texts: str) -> Any:
        for chunk in chunks(*texts):
            yield chunk

    made = colour.run(
        lambda: generate_from_stream(iter(chunks("a", "b"))),
        lambda: agenerate_from_stream(source("a", "b")),
    )
    (generation,) = made.generations
    assert (type(generation.message).__name__, generation.text) == ("AIMessage", "ab")
    with pytest.raises(InvalidArgument, match="No generations"):
        colour.run(lambda: generate_from_stream(iter([])), lambda: agenerate_from_stream(source()))
    assert asyncio.run(agenerate_from_stream(source("x"))).generations[0].text == "x"


@pytest.mark.parametrize("path", ["", ".base", ".chat_models", ".fake_chat_models", ".simple"])
def test_every_exported_name_resolves(path: str) -> None:
    module = importlib.import_module(f"modelwire.language_models{path}")
    for name in module.__all__:
        assert getattr(module, name) is not None
