"""`dumps` and `load`: LangChain's JSON form, written and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire.adapters import ChatAnthropic, ChatBedrockConverse, ChatOpenAI
from modelwire.caches import SQLiteCache
from modelwire.documents import Document
from modelwire.errors import InvalidArgument, InvalidType, MissingKey
from modelwire.load import dumpd, dumps, load, loads
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
    messages_from_dict,
    messages_to_dict,
)
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from modelwire.prompts import PromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer

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
    read = loads(text, allowed_objects=[cls], secrets_map={variable: "k"})
    assert (read.model, read.temperature, read.api_key.get_secret_value()) == ("m", 0.5, "k")
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MissingKey, match=variable):
        loads(text, allowed_objects="all")
    monkeypatch.setenv(variable, "from-env")
    with pytest.raises(MissingKey, match=variable):
        loads(text, allowed_objects="all")
    read = loads(text, allowed_objects="all", secrets_from_env=True)
    assert read.api_key.get_secret_value() == "from-env"


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
    keys = {"OPENAI_API_KEY": "k"}
    assert load(written, allowed_objects="all", secrets_map=keys).model == "m"


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


# What a model, a tool or a user could write to have the reader of a saved conversation do something.
SECRET = {"lc": 1, "type": "secret", "id": ["CANARY_SECRET"]}
MODEL = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "chat_models", "openai", "ChatOpenAI"],
    "kwargs": {"model_name": "m", "base_url": "http://evil.test/v1"},
}
HOSTILE: list[Any] = [
    SECRET,
    MODEL,
    {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"]},
    {"lc": 1, "type": "not_implemented", "id": ["x"]},
    {"lc": 1},
    {"lc": 2, "id": 3},
    {"lc": 1, "id": []},
    {"__lc_escaped__": SECRET},
    {"__lc_escaped__": {"__lc_escaped__": MODEL}},
    {"__lc_escaped__": None, "more": SECRET},
    {"deep": [[{"er": SECRET}], {"__lc_escaped__": 1}]},
]
NAMES = st.text(max_size=3) | st.sampled_from(["lc", "type", "id", "kwargs", "__lc_escaped__"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from([1, "secret", "constructor", ["AIMessage"], *HOSTILE])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
)


@given(JSON)
def test_every_json_value_is_read_as_it_was_written(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert load(dumpd(value), allowed_objects="all", secrets_from_env=True) == value


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_a_conversation_with_any_data_in_it_is_read_as_it_was_written(data: dict[str, Any]) -> None:
    talk = [
        AIMessage(
            [{"type": "text", "text": "x", "extras": data}, {**data, "type": "strange"}],
            tool_calls=[{"name": "f", "args": data, "id": "1"}],
            additional_kwargs=data,
            response_metadata=data,
        ),
        ToolMessage("42", tool_call_id="1", artifact=data),
        HumanMessage("x", additional_kwargs={"deep": [data]}),
        Document("x", metadata=data),
        ChatGeneration(message=AIMessage("x", additional_kwargs=data), generation_info=data),
    ]
    assert loads(dumps(talk)) == talk
    assert load(dumpd(talk), allowed_objects="all", secrets_from_env=True) == talk


@pytest.fixture(scope="module")
def server() -> Any:
    with ProviderServer() as server:
        yield server


def test_messages_are_made_of_their_written_form_with_its_data_unescaped() -> None:
    said = AIMessage("x", additional_kwargs={"a": HOSTILE}, response_metadata=SECRET)
    assert convert_to_messages(dumpd([said])) == [said]


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_what_a_model_wrote_stays_data(
    wire: str, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_SECRET", "canary")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    calls = [{"name": "f", "args": {"x": one}} for one in HOSTILE]
    calls += [{"name": "f", "args": one} for one in HOSTILE]
    server.say(Answer(text=json.dumps(SECRET), tool_calls=calls))
    answer = server.model(wire).invoke("hi")
    assert [call["args"] for call in answer.tool_calls] == [call["args"] for call in calls]
    talk = [answer, *(ToolMessage([one], tool_call_id="1") for one in HOSTILE if "type" in one)]
    text = dumps(talk)
    read = loads(text, allowed_objects="all", secrets_from_env=True)
    assert read == talk
    assert "canary" not in repr(read)
    assert json.loads(dumps(read)) == json.loads(text)
    cache = SQLiteCache(tmp_path / "cache.sqlite")
    kept = [ChatGeneration(message=answer)]
    cache.update("p", "m", kept)
    assert cache.lookup("p", "m") == kept
    assert messages_from_dict(json.loads(json.dumps(messages_to_dict(talk)))) == talk


FINITE = st.recursive(
    LEAVES.filter(lambda leaf: leaf not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.long
@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini", "bedrock"])
@settings(max_examples=settings().max_examples // 3)  # each of them is five calls
@given(args=st.lists(st.dictionaries(NAMES, FINITE, max_size=3), min_size=1, max_size=3))
def test_answers_of_every_wire_with_any_arguments_are_read_as_they_were_written(
    wire: str, server: ProviderServer, args: list[dict[str, Any]]
) -> None:
    calls = [{"name": "f", "args": one} for one in args]
    server.say(*[Answer(text=json.dumps(args), tool_calls=calls)] * 2)
    model = server.model(wire)  # type: ignore[arg-type]
    chunks = list(model.stream("hi"))
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    for answer in (model.invoke("hi"), total):
        assert [call["args"] for call in answer.tool_calls] == args
        assert loads(dumps(answer)) == answer
        assert load(dumpd([answer]), allowed_objects="all", secrets_from_env=True) == [answer]
    assert [loads(dumps(chunk)) for chunk in chunks] == chunks


class Record:
    """What another library might call `to_json`: it returns data."""

    def to_json(self) -> Any:
        return MODEL


def test_only_objects_of_the_form_are_asked_for_it() -> None:
    assert dumpd(Record())["type"] == "not_implemented"
    assert loads(dumps({"lc": 1, "a": AIMessage("x")}))["a"]["id"][-1] == "AIMessage"
    with pytest.raises(InvalidArgument, match="default"):
        dumps(1, default=str)


@pytest.mark.parametrize(
    "options", [{}, {"allowed_objects": "messages"}, {"allowed_objects": [AIMessage]}]
)
def test_a_model_is_read_only_where_that_is_allowed(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"ChatOpenAI.*allowed_objects"):
        load(MODEL, **options)
    assert load(dumpd(AIMessage("x")), **options) == AIMessage("x")


def test_a_class_that_is_not_in_the_list_is_not_made() -> None:
    with pytest.raises(InvalidArgument, match="allowed_objects"):
        load(dumpd(Document("x")), allowed_objects="messages")
    with pytest.raises(InvalidArgument, match="`core`"):
        load(1, allowed_objects="cor")
    with pytest.raises(InvalidType, match="allowed_objects"):
        load(1, allowed_objects=[RunnableLambda(len)])  # type: ignore[list-item]


class Remark(HumanMessage):
    """A message of the user's own."""


def test_a_class_of_the_users_own_is_read_where_it_is_allowed() -> None:
    remark = Remark("x")
    assert load(dumpd([remark]), allowed_objects=[Remark]) == [remark]
    with pytest.raises(InvalidArgument, match="Remark"):
        load(dumpd(remark))


@pytest.mark.parametrize("cls", [ChatOpenAI, ChatAnthropic, ChatBedrockConverse])
def test_a_form_without_a_key_gets_none_of_the_environment_unless_that_is_said(
    cls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.setenv(variable, "canary")
    kwargs = {"model": "m", "base_url": "http://evil.test/v1"}
    form = {"lc": 1, "type": "constructor", "id": [cls.__name__], "kwargs": kwargs}
    with pytest.raises(MissingKey, match="secrets_from_env=True"):
        load(form, allowed_objects="all")
    model = load(form, allowed_objects="all", secrets_from_env=True)
    assert model.api_key.get_secret_value() == "canary"


@pytest.mark.parametrize("kwargs", [[1], "x", 3])
def test_kwargs_that_are_not_an_object_are_refused(kwargs: Any) -> None:
    with pytest.raises(InvalidArgument, match="kwargs"):
        load({"lc": 1, "type": "constructor", "id": ["AIMessage"], "kwargs": kwargs})


def test_an_address_is_written_without_its_password() -> None:
    model = ChatOpenAI(
        model="m", base_url="https://ann:canary@host.test/v1?api_key=canary&api-version=2"
    )
    assert "canary" not in dumps(model)
    assert dumpd(model)["kwargs"]["base_url"] == "https://host.test/v1?api-version=2"
