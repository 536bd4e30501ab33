"""`as_langchain(model)`: a chat model of LangChain's whose calls are ours."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import pytest
from langchain_core import exceptions as their_errors
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from modelwire import errors
from modelwire.adapters import ChatOpenAI
from modelwire.jobs import track
from modelwire.langchain import ModelwireChatModel, as_langchain
from modelwire.messages import AIMessage as OurAIMessage
from modelwire.testing import ProviderServer
from modelwire.testing.fake_chat_models import FakeMessagesListChatModel
from modelwire.testing.server.answers import Answer
from modelwire.testing.server.faults import Rule, cut


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Recorder(BaseCallbackHandler):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.events.append(("start", messages))

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.events.append(("token", kwargs["chunk"]))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events.append(("end", response))

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", error))


def test_a_call_is_langchains_outside_and_ours_on_the_wire(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say("Hello!")
    lc = as_langchain(model)
    assert isinstance(lc, BaseChatModel)
    answer = colour.invoke(lc, [SystemMessage("be kind"), HumanMessage("hi")])
    assert type(answer) is AIMessage
    assert answer.text == "Hello!"
    assert answer.usage_metadata["total_tokens"] > 0
    assert answer.response_metadata["model_provider"] == model.provider
    assert (
        model.build_request([("system", "be kind"), ("user", "hi")]).body == server.requests[0].body
    )


def test_streams_add_up_to_the_whole_answer(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say("one two three", "one two three")
    lc = as_langchain(model)
    whole = colour.invoke(lc, "hi")
    chunks = colour.stream(lc, "hi")
    total = sum(chunks[1:], chunks[0])
    assert len(chunks) > 3
    assert total.text == whole.text
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]
    assert chunks[-1].chunk_position == "last"


def test_handlers_hear_one_run_with_langchains_classes(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say("one two", "one two")
    for call, tokens in ((colour.invoke, 0), (colour.stream, 2)):
        heard = Recorder()
        call(as_langchain(model), "hi", {"callbacks": [heard]})
        names = [name for name, _ in heard.events]
        assert names.count("start") == names.count("end") == 1
        assert names.count("token") >= tokens
        assert type(heard.events[0][1][0][0]) is HumanMessage
        assert isinstance(heard.events[-1][1].generations[0][0].message, AIMessage)


def test_track_counts_each_call_once(model: Any, server: ProviderServer, colour: Any) -> None:
    server.say("a", "b")
    with track() as spent:
        colour.invoke(as_langchain(model), "hi", {"callbacks": [Recorder()]})
        colour.stream(as_langchain(model), "hi")
    assert spent.total.calls == 2


@pytest.mark.parametrize(
    ("status", "ours", "theirs"),
    [
        (400, errors.BadRequest, their_errors.ModelInvalidRequestError),
        (401, errors.AuthenticationError, their_errors.ModelAuthenticationError),
        (403, errors.PermissionDenied, their_errors.ModelPermissionDeniedError),
        (404, errors.NotFound, their_errors.ModelNotFoundError),
        (429, errors.RateLimited, their_errors.ModelRateLimitError),
        (500, errors.ServerError, their_errors.ModelAPIError),
    ],
)
def test_an_error_is_ours_and_what_langchains_callers_catch(
    status: int, ours: type[Exception], theirs: type[Exception], server: ProviderServer, colour: Any
) -> None:
    server.default = ours("no", status=status)
    lc = as_langchain(server.model("openai", max_retries=0))
    for call in (colour.invoke, colour.stream):
        with pytest.raises(theirs) as caught:
            call(lc, "hi")
        assert isinstance(caught.value, ours)
        assert caught.value.is_retryable is caught.value.retryable
        again = pickle.loads(pickle.dumps(caught.value))
        assert isinstance(again, theirs)
        assert again.status == status


def test_tools_are_bound_in_the_words_of_the_wire(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say(Answer(tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}}]))
    bound = as_langchain(model).bind_tools([add], tool_choice="add", parallel_tool_calls=False)
    answer = colour.invoke(bound, "1+2?")
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 1, "b": 2})
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
    plain = {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {**schema, "required": ["a", "b"]},
        },
    }
    oracle = model.bind_tools([plain], tool_choice="add", parallel_tool_calls=False).kwargs
    assert server.requests[0].body == model.build_request("1+2?", **oracle).body
    server.say("3")
    assert (
        colour.invoke(
            bound, [HumanMessage("1+2?"), answer, ToolMessage("3", tool_call_id=call["id"])]
        ).text
        == "3"
    )


def test_two_tools_of_one_name_are_refused_before_any_request(
    model: Any, server: ProviderServer
) -> None:
    with pytest.raises(errors.InvalidArgument, match="Two tools are called `add`"):
        as_langchain(model).bind_tools([add, {"title": "add", "type": "object", "properties": {}}])
    assert not server.requests


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output_in_every_method(
    method: str, model: Any, server: ProviderServer, colour: Any
) -> None:
    text = json.dumps({"name": "Ada", "age": 36})
    by_tool = Answer(tool_calls=[{"name": "Person", "args": {"name": "Ada", "age": 36}}])
    server.say(*[by_tool if method == "function_calling" else text] * 3)
    lc = as_langchain(model)
    assert colour.invoke(lc.with_structured_output(Person, method=method), "who?") == Person(
        name="Ada", age=36
    )
    both = colour.invoke(lc.with_structured_output(Person, method=method, include_raw=True), "who?")
    assert type(both["raw"]) is AIMessage
    assert (both["parsed"], both["parsing_error"]) == (Person(name="Ada", age=36), None)
    schema = Person.model_json_schema()
    partials = colour.stream(lc.with_structured_output(schema, method=method), "who?")
    assert partials[-1] == {"name": "Ada", "age": 36}


def test_structured_output_streams_partials(server: ProviderServer, colour: Any) -> None:
    server.say(json.dumps({"name": "Ada Augusta King Countess", "age": 36}))
    chain = as_langchain(server.model("openai")).with_structured_output(Person.model_json_schema())
    partials = colour.stream(chain, "who?")
    assert len(partials) > 2
    assert partials[-1] == {"name": "Ada Augusta King Countess", "age": 36}
    assert all(type(part["name"]) is str for part in partials if "name" in part)


def test_an_object_that_breaks_a_json_schema_is_for_langchains_program_to_check(
    server: ProviderServer, colour: Any
) -> None:
    server.default = json.dumps({"name": "Ada"})
    lc = as_langchain(server.model("openai"))
    assert colour.invoke(lc.with_structured_output(Person.model_json_schema()), "who?") == {
        "name": "Ada"
    }
    with pytest.raises(their_errors.OutputParserException):
        colour.invoke(lc.with_structured_output(Person), "who?")
    checked = lc.with_structured_output(Person.model_json_schema(), retries=1)
    with pytest.raises(their_errors.OutputParserException):
        colour.invoke(checked, "who?")
    assert server.counts.chat_calls == 4


def test_a_subclass_has_fields_of_its_own(server: ProviderServer) -> None:
    class Named(ModelwireChatModel):
        title: str = "none"
        seen: int = 0

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            self.seen += 1
            return super()._generate(*args, **kwargs)

    server.say("Hello!")
    named = Named(server.model("openai"), title="first", disable_streaming=True)
    assert (named.title, named.seen, named.disable_streaming) == ("first", 0, True)
    assert named.invoke("hi").text == "Hello!"
    assert named.seen == 1
    with pytest.raises(errors.InvalidArgument, match="`temperature`"):
        Named(server.model("openai"), temperature=0)


def test_an_answer_of_another_form_is_an_error_of_both_sides(
    server: ProviderServer, colour: Any
) -> None:
    server.say("nothing of the kind")
    with pytest.raises(their_errors.OutputParserException) as caught:
        colour.invoke(as_langchain(server.model("openai")).with_structured_output(Person), "who?")
    assert isinstance(caught.value, errors.OutputParserException)


def test_it_is_written_down_without_its_key_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lc = as_langchain(ChatOpenAI(model="gpt-4o-mini", api_key="sk-very-secret", temperature=0.5))
    form = dumpd(lc)
    assert form["type"] == "constructor"
    for shown in (json.dumps(form), repr(lc), str(lc.asdict()), json.dumps(lc._get_ls_params())):
        assert "sk-very-secret" not in shown
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    again = load(form, valid_namespaces=["modelwire"], allowed_objects=[ModelwireChatModel])
    assert again.asdict() == lc.asdict()
    assert again.wrapped.temperature == 0.5


def test_it_says_what_the_model_can_do() -> None:
    lc = as_langchain(
        ChatOpenAI(model="gpt-4o-mini", api_key="k", profile={"max_input_tokens": 77})
    )
    assert lc.profile["max_input_tokens"] == 77
    assert lc.profile["structured_output"] is True
    assert lc.profile["tool_calling"] is True
    assert as_langchain(ChatOpenAI(model="m", api_key="k", provider="groq")).profile is None
    assert (lc._llm_type, lc.model_name, lc._get_ls_params()["ls_model_name"]) == (
        "openai-chat",
        "gpt-4o-mini",
        "gpt-4o-mini",
    )


def test_it_can_be_made_of_a_model_string(server: ProviderServer) -> None:
    lc = ModelwireChatModel(
        model="openai:gpt-x", base_url=server.base_url + "/v1", api_key="k", temperature=0
    )
    assert lc.invoke("hi").text == "hi"
    with pytest.raises(errors.InvalidType, match="chat model of modelwire"):
        ModelwireChatModel(wrapped=3)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgument, match="`temperature`"):
        ModelwireChatModel(wrapped=lc.wrapped, temperature=1)


def test_a_model_of_the_users_own_gets_langchains_run_id(colour: Any) -> None:
    lc = as_langchain(FakeMessagesListChatModel(responses=[OurAIMessage("a"), OurAIMessage("b")]))
    heard: list[str] = []

    class Ids(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
            heard.append(str(run_id))

    answer = colour.invoke(lc, "hi", {"callbacks": [Ids()]})
    assert answer.id == f"lc_run--{heard[0]}-0"
    assert colour.stream(lc, "hi")[0].content == "b"


def test_a_stream_that_is_left_lets_go_of_its_connection(server: ProviderServer) -> None:
    server.say("one two three four")
    for chunk in as_langchain(server.model("openai")).stream("hi"):
        assert chunk.content == "one"
        break

    async def leave() -> None:
        server.say("one two three four")
        chunks = as_langchain(server.model("openai")).astream("hi")
        async for _ in chunks:
            break
        await chunks.aclose()

    asyncio.run(leave())


def test_a_stream_never_begins_again_on_the_other_side(server: ProviderServer, colour: Any) -> None:
    server.default = "one two three four"
    server.faults = [Rule(cut(after_events=3), times=1)]
    lc = as_langchain(server.model("openai", stream_restart="marker"))
    with pytest.raises(errors.StreamInterrupted):
        colour.stream(lc, "hi")


def test_a_setting_is_read_and_set_through_it(server: ProviderServer, colour: Any) -> None:
    lc = as_langchain(server.model("openai", temperature=0.5))
    assert lc.temperature == 0.5
    lc.temperature = 0.25
    lc.tags = ["a"]
    assert (lc.wrapped.temperature, lc.temperature, lc.tags) == (0.25, 0.25, ["a"])
    colour.invoke(lc, "hi")
    assert server.requests[0].fields["temperature"] == 0.25
    with pytest.raises(ValueError, match="temprature"):
        lc.temprature = 1


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_events_of_version_3_are_langchains(model: Any, server: ProviderServer) -> None:
    """The error of `modelwire`'s own `stream_events` names this way."""
    server.say("one two", "one two")
    lc = as_langchain(model)

    async def read() -> list[Any]:
        return [event async for event in await lc.astream_events("hi", version="v3")]

    for events in (list(lc.stream_events("hi", version="v3")), asyncio.run(read())):
        deltas = [event["delta"] for event in events if event["event"] == "content-block-delta"]
        assert "".join(delta.get("text", "") for delta in deltas) == "one two"
        assert events[-1]["usage"]["output_tokens"] > 0
