"""`dumps` and `load`: LangChain's JSON form, written and read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.documents import Document
from modelwire.errors import InvalidArgument, MissingKey
from modelwire.load import dumpd, dumps, load, loads
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from modelwire.prompts import PromptTemplate

CALL = {"name": "f", "args": {"a": 1}, "id": "1"}


@pytest.mark.parametrize(
    "value",
    [
        HumanMessage("hi", id="7"),
        AIMessage("", tool_calls=[CALL], response_metadata={"model_name": "m"}),
        AIMessageChunk("part"),
        ToolMessage("42", tool_call_id="1", status="error"),
        Document("text", metadata={"page": 3}),
        PromptTemplate.from_template("Say {what}."),
        Generation(text="t", generation_info={"finish_reason": "stop"}),
        GenerationChunk(text="t"),
        [
            ChatGeneration(message=AIMessage("", tool_calls=[CALL])),
            ChatGeneration(message=HumanMessage("h")),
        ],
        ChatGenerationChunk(message=AIMessageChunk("part"), generation_info={"n": 1}),
        [HumanMessage("a"), {"b": AIMessage("c")}, 3, None],
    ],
)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert load(dumpd(value)) == value


def test_the_form_is_langchains() -> None:
    assert AIMessage("x", tool_calls=[CALL]).to_json() == {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "AIMessage"],
        "kwargs": {
            "content": "x",
            "type": "ai",
            "tool_calls": [{**CALL, "type": "tool_call"}],
            "invalid_tool_calls": [],
        },
    }


def test_a_generation_in_langchains_form_is_read() -> None:
    message = {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "AIMessage"],
        "kwargs": {"content": "x", "type": "ai"},
    }
    path = ["langchain", "schema", "output", "ChatGeneration"]
    written = {
        "lc": 1,
        "type": "constructor",
        "id": path,
        "kwargs": {"text": "x", "message": message},
    }
    assert load(written) == ChatGeneration(message=AIMessage("x"))
    assert dumpd(ChatGeneration(message=AIMessage("x")))["id"] == path


@pytest.mark.parametrize("cls", [ChatOpenAI, ChatAnthropic])
def test_a_model_is_written_without_its_key(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = dumps(cls(model="m", api_key="canary", temperature=0.5))
    assert "canary" not in text
    variable = json.loads(text)["kwargs"]["api_key"]["id"][0]
    read = loads(text, secrets_map={variable: "k"})
    assert (read.model, read.temperature, read.api_key.get_secret_value()) == ("m", 0.5, "k")
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MissingKey, match=variable):
        loads(text)
    monkeypatch.setenv(variable, "from-env")
    assert loads(text, secrets_from_env=True).api_key.get_secret_value() == "from-env"


def test_a_model_that_langchain_wrote_is_read() -> None:
    written = {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "chat_models", "openai", "ChatOpenAI"],
        "kwargs": {
            "model_name": "m",
            "openai_api_key": {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]},
        },
    }
    assert load(written, secrets_map={"OPENAI_API_KEY": "k"}).model == "m"


@pytest.mark.parametrize("path", [["os", "system"], ["langchain", "llms", "OpenAI"]])
def test_what_is_not_in_the_table_is_never_imported(path: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=r"cannot be loaded"):
        load({"lc": 1, "type": "constructor", "id": path, "kwargs": {}})


def test_what_has_no_form_says_so_and_cannot_be_read() -> None:
    written = dumpd({"f": len, "o": object()})
    assert written["o"]["type"] == "not_implemented"
    assert written["o"]["id"] == ["builtins", "object"]
    with pytest.raises(InvalidArgument, match=r"builtins\.object"):
        load(written["o"])
