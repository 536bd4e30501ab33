"""`with_structured_output`: what is asked on either wire, and what is made of the answer."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar

import anthropic
import pytest
from openai.lib._parsing._completions import type_to_response_format_param
from pydantic import BaseModel, Field, ValidationError
from pydantic.v1 import BaseModel as OldModel
from support.anthropic_wire import events_of, whole
from support.provider_bodies import anthropic_answer, anthropic_stream, openai_answer, openai_stream

from modelwire.adapters import (
    BaseChatModel,
    ChatAnthropic,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
)
from modelwire.errors import (
    InvalidArgument,
    InvalidType,
    ModelRefusalError,
    OutputParserException,
    ParameterWarning,
)
from modelwire.messages import AIMessage
from modelwire.output_parsers import PydanticToolsParser
from modelwire.outputs import ChatGeneration, ChatResult
from modelwire.runnables import RunnableLambda
from modelwire.tools.json_schema import inlined, without_titles

URLS = {
    "openai": "https://api.openai.com/v1/chat/completions",
    "anthropic": "https://api.anthropic.com/v1/messages",
}


class City(BaseModel):
    """A city."""

    name: str = Field(description="Its name.", max_length=9)
    people: int | None = Field(default=None, ge=0)
    kind: Literal["old", "new"] = "old"


class CityDict(TypedDict):
    """A city."""

    name: Annotated[str, ..., "Its name."]
    people: int


class OldCity(OldModel):
    """A city."""

    name: str
    people: int


JSON_SCHEMA = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
SCHEMAS: dict[str, Any] = {
    "pydantic": City,
    "pydantic v1": OldCity,
    "typed dict": CityDict,
    "json": JSON_SCHEMA,
}
FACTS = {"name": "Bern", "people": 134}


def model(wire: str, **settings: Any) -> Any:
    cls = ChatOpenAI if wire == "openai" else ChatAnthropic
    return cls(model="m", api_key="k", max_retries=0, **settings)


def asked(wire: str, schema: Any, method: str | None = None, **options: Any) -> dict[str, Any]:
    """What is sent beside the messages."""
    chain = model(wire).with_structured_output(
        schema, **({"method": method} if method else {}), **options
    )
    body = model(wire).build_request("hi", **chain.steps[0].kwargs).body
    return {
        key: value for key, value in body.items() if key not in ("model", "messages", "max_tokens")
    }


def reply(wire: str, value: Any, *, stream: bool = False) -> bytes:
    """An answer whose text is the JSON of `value`."""
    text = json.dumps(value)
    words = [text[i : i + 5] for i in range(0, len(text), 5)]
    if wire == "openai":
        return openai_stream(*words) if stream else json.dumps(openai_answer(text)).encode()
    return anthropic_stream(*words) if stream else json.dumps(anthropic_answer(text)).encode()


def called(wire: str, name: str, args: dict[str, Any]) -> bytes:
    """An answer that calls the tool `name`."""
    if wire == "anthropic":
        return whole([{"type": "tool_use", "id": "t1", "name": name, "input": args}])
    call = {
        "id": "t1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(args)},
    }
    return json.dumps(openai_answer("", tool_calls=[call])).encode()


# ---------------------------------------------------------------- what is asked


def test_openai_is_asked_as_its_sdk_asks() -> None:
    theirs: Any = type_to_response_format_param(City)
    theirs["json_schema"]["schema"] = without_titles(inlined(theirs["json_schema"]["schema"]))
    description = theirs["json_schema"]["schema"].pop("description")
    assert asked("openai", City) == {
        "response_format": {
            **theirs,
            "json_schema": {**theirs["json_schema"], "description": description},
        }
    }
    assert asked("openai", City, "json_schema") == asked("openai", City)


@pytest.mark.parametrize(
    "schema", [City, CityDict, JSON_SCHEMA], ids=["pydantic", "typed dict", "json"]
)
def test_anthropic_is_asked_for_what_its_sdk_makes_of_the_schema(schema: Any) -> None:
    said = asked("anthropic", schema, "json_schema")["output_config"]["format"]
    if schema is City:
        theirs = without_titles(anthropic.transform_schema(City))
        for name, node in said["schema"]["properties"].items():
            assert _unordered(node) == _unordered(theirs["properties"][name]), name
        assert {**said["schema"], "properties": 0} == {**theirs, "properties": 0}
    else:
        assert without_titles(anthropic.transform_schema(said["schema"])) == said["schema"]
    assert said["type"] == "json_schema"


def _unordered(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out the order of the words of a description, and the type that stands beside an enumeration."""
    left_out = {"type"} if "enum" in node else set()
    return {
        key: sorted(v) if key == "description" else v
        for key, v in node.items()
        if key not in left_out
    }


@pytest.mark.parametrize("wire", URLS)
def test_tools_are_forced_where_they_are_the_way(wire: str) -> None:
    said = asked(wire, CityDict, "function_calling")
    if wire == "openai":
        assert said["tool_choice"] == {"type": "function", "function": {"name": "CityDict"}}
        assert said["parallel_tool_calls"] is False
    else:
        assert said["tool_choice"] == {"type": "tool", "name": "CityDict"}
        assert asked(wire, CityDict) == said
    assert len(said["tools"]) == 1


@pytest.mark.parametrize(
    ("disabled", "left"),
    [
        ({"parallel_tool_calls": None}, False),
        ({"parallel_tool_calls": [False]}, False),
        ({"parallel_tool_calls": [True]}, True),
    ],
)
def test_disabled_params_are_not_added_and_never_sent(disabled: Any, left: bool) -> None:
    limited = model("openai", disabled_params=disabled)
    chain = limited.with_structured_output(City, method="function_calling")
    body = limited.build_request("hi", **chain.steps[0].kwargs).body
    assert ("parallel_tool_calls" in body) is left
    assert "tool_choice" in body
    assert "disabled_params" not in body
    chosen = limited.bind_tools([City], parallel_tool_calls=False)
    assert limited.build_request("hi", **chosen.kwargs).body["parallel_tool_calls"] is False


@pytest.mark.parametrize("wire", URLS)
def test_what_is_bound_stays_but_for_another_form_of_the_answer(wire: str) -> None:
    stop = "stop" if wire == "openai" else "stop_sequences"
    for method in ("json_schema", "function_calling"):
        bound = (
            model(wire)
            .bind(stop=["."], temperature=0.5)
            .bind_tools([CityDict])
            .with_config(tags=["t"])
        )
        with pytest.warns(UserWarning, match="drops the bound `tools`"):
            chain = bound.with_retry(stop_after_attempt=2).with_structured_output(
                City, method=method
            )
        first = chain.steps[0]
        assert (first.config["tags"], first.bound.max_attempt_number) == (["t"], 2)
        body = model(wire).build_request("hi", **first.kwargs).body
        assert (body[stop], body["temperature"]) == (["."], 0.5)
        rest = {name: body[name] for name in asked(wire, City, method)}
        assert rest == asked(wire, City, method)
        assert len(body.get("tools", [])) == (method == "function_calling")


def test_the_way_to_ask_is_chosen_by_what_is_bound() -> None:
    """A model that thinks cannot be forced to call a tool."""
    bound = model("anthropic").bind(
        thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=4000
    )
    for one in (bound, bound.with_config(tags=["t"]), bound.with_retry()):
        kwargs = one.with_structured_output(City).steps[0].kwargs
        assert (kwargs["thinking"]["type"], "response_format" in kwargs, "tools" in kwargs) == (
            "enabled",
            True,
            False,
        )


def test_what_is_bound_stays_before_fallbacks_too() -> None:
    chain = (
        model("openai")
        .with_fallbacks([model("anthropic")])
        .bind(stop=["."])
        .with_structured_output(City)
    )
    assert [one.steps[0].kwargs["stop"] for one in chain.bound.runnables] == [["."], ["."]]
    assert [one.steps[0].bound.provider for one in chain.bound.runnables] == ["openai", "anthropic"]


def test_json_mode_is_asked_where_there_is_one() -> None:
    assert asked("openai", City, "json_mode") == {"response_format": {"type": "json_object"}}
    assert asked("openai", None, "json_mode") == {"response_format": {"type": "json_object"}}
    assert asked("anthropic", City, "json_mode") == asked("anthropic", City, "json_schema")


def test_strict_is_the_default_for_pydantic_where_it_can_be() -> None:
    class Free(BaseModel):
        tags: dict[str, str]

    def strict(schema: Any, **options: Any) -> Any:
        return asked("openai", schema, **options)["response_format"]["json_schema"].get("strict")

    assert [strict(schema) for schema in (City, Free, CityDict, JSON_SCHEMA)] == [
        True,
        None,
        None,
        None,
    ]
    assert strict(JSON_SCHEMA, strict=True) is True
    assert strict(City, strict=False) is False
    with pytest.raises(
        InvalidArgument, match=r"`Free`, cannot be sent: `tags` is an object with any keys"
    ):
        asked("openai", Free, strict=True)
    with pytest.raises(InvalidArgument, match="`tags`"):
        asked("anthropic", Free, "json_schema")
    assert asked("anthropic", Free)["tool_choice"]["name"] == "Free"


def test_anthropic_thinking_is_not_asked_beside_a_forced_tool() -> None:
    thinking = model("anthropic", thinking={"type": "enabled", "budget_tokens": 1024})
    assert "response_format" in thinking.with_structured_output(City).steps[0].kwargs


@pytest.mark.parametrize(
    "settings",
    [
        {"effort": "high"},
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "high"}},
        {"reasoning": {"max_tokens": 2048}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
    ],
    ids=str,
)
def test_a_model_that_will_think_is_not_made_to_use_a_tool_in_whichever_words_it_was_told(
    settings: Any,
) -> None:
    claude = ChatAnthropic(model="claude-sonnet-4-5", api_key="k", **settings)
    kwargs = claude.with_structured_output(City).steps[0].kwargs
    assert "response_format" in kwargs
    plain = ChatAnthropic(model="claude-sonnet-4-5", api_key="k")
    assert "response_format" in plain.with_structured_output(City, **settings).steps[0].kwargs
    assert plain.with_structured_output(City).steps[0].kwargs["tool_choice"] == "City"


def test_a_model_from_before_structured_outputs_is_offered_the_tool_though_it_thinks() -> None:
    claude = ChatAnthropic(model="claude-3-7-sonnet-20250219", api_key="k", effort="high")
    with pytest.warns(ParameterWarning, match="cannot be forced to call a tool"):
        body = claude.build_request(
            "hi", **claude.with_structured_output(City).steps[0].kwargs
        ).body
    assert [tool["name"] for tool in body["tools"]] == ["City"]
    assert body["thinking"]["type"] == "enabled"
    assert "output_config" not in body


def test_a_format_that_is_ready_goes_as_it_is() -> None:
    ready = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    assert asked("openai", ready) == {"response_format": ready}
    assert asked("openai", ready["json_schema"]) == {"response_format": ready}
    assert (
        asked("openai", {**JSON_SCHEMA, "title": "A city!"})["response_format"]["json_schema"][
            "name"
        ]
        == "A_city_"
    )


@pytest.mark.parametrize(
    ("schema", "options", "error", "said"),
    [
        (City, {"method": "json"}, InvalidArgument, "`method` is `json`. Did you mean"),
        (City(name="x"), {}, InvalidType, "`schema` is a pydantic class.*not a `City`"),
        (None, {}, InvalidArgument, "needs a `schema`"),
        (City, {"method": "json_mode", "strict": True}, InvalidArgument, "`strict`"),
        ({"type": "object"}, {}, InvalidArgument, "title"),
    ],
)
def test_what_cannot_be_asked_is_said_before(
    schema: Any, options: Any, error: Any, said: str
) -> None:
    with pytest.raises(error, match=said):
        model("openai").with_structured_output(schema, **options)
    with pytest.raises(InvalidArgument, match="give a `schema`"):
        model("anthropic").with_structured_output(None, method="json_mode")


# ---------------------------------------------------------------- what is answered


@pytest.mark.parametrize("wire", URLS)
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_becomes_an_object(
    colour: Any, wire: str, schema: Any, method: str, httpx2_mock: Any
) -> None:
    name = "City" if isinstance(schema, dict) else schema.__name__
    body = reply(wire, FACTS) if method == "json_schema" else called(wire, name, FACTS)
    httpx2_mock.post(URLS[wire]).respond(content=body)
    answer = colour.invoke(model(wire).with_structured_output(schema, method=method), "hi")
    if schema in (City, OldCity):
        assert type(answer) is schema
        assert (answer.name, answer.people) == ("Bern", 134)
    else:
        assert answer == FACTS


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]


TITLES: list[tuple[Any, str]] = [
    (Page[int], "Page_int_"),
    (type("Größe", (Page[int],), {}), "Gr__e_946e9015"),
    (type("値段", (Page[int],), {}), "____a2446f24"),
    (type("Long" * 30, (Page[int],), {}), "LongLong"),
    ({**Page[int].model_json_schema(), "title": "A page of numbers"}, "A_page_of_numbers"),
    ({**Page[int].model_json_schema(), "title": "3 numbers"}, "_3_numbers"),
]
ALL_WIRES: dict[str, Callable[[], BaseChatModel]] = {
    "openai": lambda: ChatOpenAI(model="m", api_key="k"),
    "responses": lambda: ChatOpenAI(model="m", api_key="k", use_responses_api=True),
    "anthropic": lambda: ChatAnthropic(model="m", api_key="k"),
    "gemini": lambda: ChatGoogleGenerativeAI(model="m", api_key="k"),
    "bedrock": lambda: ChatBedrockConverse(model="m", api_key="k", region_name="us-east-1"),
}


@pytest.mark.parametrize("make", ALL_WIRES.values(), ids=ALL_WIRES)
@pytest.mark.parametrize(("schema", "name"), TITLES, ids=str)
def test_the_title_of_a_schema_becomes_a_name_that_every_provider_takes(
    make: Callable[[], Any], schema: Any, name: str
) -> None:
    model = make()
    for method in ("function_calling", "json_schema"):
        bound = model.with_structured_output(schema, method=method).steps[0]
        body = json.dumps(model.build_request("hi", **bound.kwargs).body)
        if method == "function_calling":
            assert f'"name": "{name}' in body
        title = schema["title"] if isinstance(schema, dict) else schema.__name__
        assert f'"name": {json.dumps(title)}' not in body
    choosing = model.bind_tools([schema, City], tool_choice=title)
    assert f'"name": "{name}' in json.dumps(model.build_request("hi", **choosing.kwargs).body)


@pytest.mark.parametrize("wire", URLS)
@pytest.mark.parametrize("schema", [schema for schema, _ in TITLES], ids=str)
def test_the_call_of_a_tool_under_a_fitted_name_is_read(
    colour: Any, wire: str, schema: Any, httpx2_mock: Any
) -> None:
    bound = model(wire).with_structured_output(schema, method="function_calling")
    (tool,) = bound.steps[0].kwargs["tools"]
    name = tool["function"]["name"] if wire == "openai" else tool["name"]
    assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_-]{0,63}", name)
    httpx2_mock.post(URLS[wire]).respond(content=called(wire, name, {"items": [1]}))
    answer = colour.invoke(bound, "hi")
    assert (answer if isinstance(schema, dict) else answer.model_dump()) == {"items": [1]}
    if not isinstance(schema, dict):
        parsed = model(wire).bind_tools([schema, City]) | PydanticToolsParser(tools=[schema, City])
        assert colour.invoke(parsed, "hi") == [schema(items=[1])]


@pytest.mark.parametrize("schema", [City, CityDict, JSON_SCHEMA], ids=str)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_chain_with_the_raw_answer_can_be_pickled(
    colour: Any, schema: Any, method: str, httpx2_mock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")  # no pickle has a key
    body = reply("openai", FACTS)
    if method == "function_calling":
        body = called("openai", "CityDict" if schema is CityDict else "City", FACTS)
    httpx2_mock.post(URLS["openai"]).respond(content=body)
    chain = model("openai").with_structured_output(schema, method=method, include_raw=True)
    answer = colour.invoke(pickle.loads(pickle.dumps(chain)), "hi")
    parsed = answer["parsed"]
    assert (parsed if isinstance(parsed, dict) else parsed.model_dump(include={*FACTS})) == FACTS
    assert answer["parsing_error"] is None


@pytest.mark.parametrize("wire", URLS)
def test_dicts_and_objects_grow_while_they_stream(colour: Any, wire: str, httpx2_mock: Any) -> None:
    httpx2_mock.post(URLS[wire]).respond(content=reply(wire, FACTS, stream=True))
    parts = colour.stream(model(wire).with_structured_output(CityDict, method="json_schema"), "hi")
    assert parts[0] == {}
    assert parts[-1] == FACTS
    assert len(parts) > 3
    httpx2_mock.post(URLS[wire]).respond(content=reply(wire, FACTS, stream=True))
    objects = colour.stream(model(wire).with_structured_output(City, method="json_schema"), "hi")
    assert objects[0].name == ""
    assert objects[-1] == City(**FACTS)


def test_the_arguments_of_a_tool_stream_too(colour: Any, httpx2_mock: Any) -> None:
    events = events_of([{"type": "tool_use", "id": "t1", "name": "CityDict", "input": FACTS}])
    httpx2_mock.post(URLS["anthropic"]).respond(content=events)
    parts = colour.stream(model("anthropic").with_structured_output(CityDict), "hi")
    assert parts[-1] == FACTS
    assert len(parts) > 2


@pytest.mark.parametrize("wire", URLS)
def test_the_raw_answer_comes_along_where_asked_for(
    colour: Any, wire: str, httpx2_mock: Any
) -> None:
    chain = model(wire).with_structured_output(City, method="json_schema", include_raw=True)
    httpx2_mock.post(URLS[wire]).respond(content=reply(wire, FACTS))
    answer = colour.invoke(chain, "hi")
    assert (answer["parsed"], answer["parsing_error"]) == (City(**FACTS), None)
    assert type(answer["raw"]) is AIMessage
    httpx2_mock.post(URLS[wire]).respond(content=reply(wire, {"name": 3}))
    answer = colour.invoke(chain, "hi")
    assert answer["parsed"] is None
    assert isinstance(answer["parsing_error"], OutputParserException)
    httpx2_mock.post(URLS[wire]).respond(content=reply(wire, FACTS, stream=True))
    parts = colour.stream(chain, "hi")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert json.loads(total["raw"].content) == FACTS
    assert total["parsed"] == City(**FACTS)


def test_an_answer_that_cannot_be_read_raises(colour: Any, httpx2_mock: Any) -> None:
    chain = model("openai").with_structured_output(City)
    httpx2_mock.post(URLS["openai"]).respond(json=openai_answer("Bern is nice."))
    with pytest.raises(OutputParserException):
        colour.invoke(chain, "hi")
    httpx2_mock.post(URLS["openai"]).respond(json=openai_answer("", refusal="I will not."))
    with pytest.raises(ModelRefusalError, match="I will not"):
        colour.invoke(chain, "hi")
    httpx2_mock.post(URLS["openai"]).respond(content=called("openai", "City", {"people": 1}))
    with pytest.raises(ValidationError):
        colour.invoke(model("openai").with_structured_output(City, method="function_calling"), "hi")


# ---------------------------------------------------------------- models of one's own


class Scripted(BaseChatModel):
    answer: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer)])

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        assert tool_choice == "any"
        return RunnableLambda(self.invoke) if kwargs.get("lazy") else self


def test_a_model_of_ones_own_answers_through_its_tools(colour: Any) -> None:
    call = {"name": "City", "args": FACTS, "id": "1", "type": "tool_call"}
    scripted = Scripted(answer=AIMessage("", tool_calls=[call]))
    assert colour.invoke(scripted.with_structured_output(City), "hi") == City(**FACTS)
    assert (
        colour.invoke(scripted.with_structured_output(JSON_SCHEMA, method="json_schema"), "hi")
        == FACTS
    )
    raw = colour.invoke(scripted.with_structured_output(City, include_raw=True, lazy=True), "hi")
    assert (raw["raw"].tool_calls, raw["parsed"]) == ([call], City(**FACTS))


@pytest.mark.parametrize("schema", [City, CityDict])
def test_commentary_beside_the_final_answer_is_not_read(
    colour: Any, schema: Any, httpx2_mock: Any
) -> None:
    texts = (
        ("commentary", 'I was asked for {"name": "Biel"}.'),
        ("final_answer", json.dumps(FACTS)),
    )
    output = [
        {
            "type": "message",
            "id": phase,
            "phase": phase,
            "content": [{"type": "output_text", "text": text}],
        }
        for phase, text in texts
    ]
    answer = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": output,
    }
    httpx2_mock.post("https://api.openai.com/v1/responses").respond(json=answer)
    chain = model("openai", use_responses_api=True).with_structured_output(schema)
    found = colour.invoke(chain, "hi")
    assert (
        found if isinstance(found, dict) else found.model_dump(include={"name", "people"})
    ) == FACTS
