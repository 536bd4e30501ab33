"""`bind_tools` on both wires: what goes out is what the SDKs send, and what cannot go out is said before."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from openai.lib._tools import pydantic_function_tool
from pydantic import BaseModel, Field

from modelwire.adapters import BaseChatModel, ChatAnthropic, ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.errors import InvalidArgument, MissingKey
from modelwire.testing import ProviderServer
from modelwire.tools import tool
from modelwire.tools.json_schema import without_titles


def weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    return f"{city} {days}"


class Order(BaseModel):
    """Order wine."""

    bottles: int = Field(1, ge=1, le=12, description="How many.")
    name: str = Field(max_length=20, pattern="^[A-Z]")
    grapes: list[str] = Field([], max_length=3)


class Time(BaseModel):
    """Tell the time."""

    zone: str = Field(description="Where.")
    exact: bool | None = None


MODELS = {
    "openai": ChatOpenAI(model="m", api_key="k"),
    "anthropic": ChatAnthropic(model="m", api_key="k", max_tokens=9),
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
}
OPENAI = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {**CITY, "required": ["city"]},
    },
}
ANTHROPIC = {
    "name": "weather",
    "description": "Tell the weather.",
    "input_schema": {**CITY, "required": ["city"]},
}


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]


def body_of(model: Any, tools: Any, **options: Any) -> dict[str, Any]:
    bound = model.bind_tools(tools, **options)
    return json.loads(json.dumps(model.build_request("hi", **bound.kwargs).body))


def sent_by_sdk(wire: str, **params: Any) -> dict[str, Any]:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(500, json={})

    client = httpx2.Client(transport=httpx2.MockTransport(handle))
    common: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **params}
    with pytest.raises((openai.APIError, anthropic.APIError)):
        if wire == "openai":
            openai.OpenAI(api_key="k", http_client=client, max_retries=0).chat.completions.create(
                **common
            )
        else:
            anthropic.Anthropic(api_key="k", http_client=client, max_retries=0).messages.create(
                max_tokens=9, **common
            )
    return json.loads(seen[0].content)


# our options; OpenAI's parameters; Anthropic's
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}, {}),
    "auto": ({"tool_choice": "auto"}, {"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
    "none": ({"tool_choice": "none"}, {"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
    "any": ({"tool_choice": "any"}, {"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    "required": (
        {"tool_choice": "required"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "any"}},
    ),
    "the only one": (
        {"tool_choice": True},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tool_choice": {"type": "tool", "name": "weather"}},
    ),
    "by name, one at a time": (
        {"tool_choice": "weather", "parallel_tool_calls": False},
        {
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": False,
        },
        {"tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
    ),
    "one at a time": (
        {"parallel_tool_calls": False},
        {"parallel_tool_calls": False},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_body_is_the_one_the_sdk_sends(options: Any) -> None:
    ours, openai_params, anthropic_params = options
    assert body_of(MODELS["openai"], [weather], **ours) == sent_by_sdk(
        "openai", tools=[OPENAI], **openai_params
    )
    assert body_of(MODELS["anthropic"], [weather], **ours) == sent_by_sdk(
        "anthropic", tools=[ANTHROPIC], **anthropic_params
    )


def test_a_strict_model_is_the_one_the_sdk_makes_of_it() -> None:
    theirs: Any = pydantic_function_tool(Time)
    theirs["function"]["parameters"] = without_titles(theirs["function"]["parameters"])
    theirs["function"]["parameters"].pop("description")  # it says the description twice
    assert body_of(MODELS["openai"], [Time], strict=True)["tools"] == [theirs]


def test_a_providers_own_tools_pass_beside_others(model: Any) -> None:
    own = {"type": "web_search_20250305", "name": "web_search"}
    tools = body_of(model, [weather, own, Time])["tools"]
    assert tools[1] == own
    assert len(tools) == 3
    choice = body_of(MODELS["anthropic"], [weather, own], tool_choice="web_search")["tool_choice"]
    assert choice == {"type": "tool", "name": "web_search"}
    assert body_of(MODELS["openai"], [weather, {"type": "web_search"}], tool_choice="web_search")[
        "tool_choice"
    ] == {"type": "web_search"}


def test_a_toolset_of_a_server_is_bound_as_it_is() -> None:
    toolsets = [{"type": "mcp_toolset", "mcp_server_name": name} for name in "ab"]
    model = ChatAnthropic(model="m", api_key="none")
    assert model.bind_tools(toolsets).kwargs["tools"] == toolsets


def test_extras_of_a_tool_reach_anthropic() -> None:
    marked = tool(extras={"cache_control": {"type": "ephemeral"}})(weather)
    assert body_of(MODELS["anthropic"], [marked])["tools"] == [
        {**ANTHROPIC, "cache_control": {"type": "ephemeral"}}
    ]
    assert body_of(MODELS["openai"], [marked])["tools"] == [OPENAI]


def test_no_tools_send_none(model: Any) -> None:
    assert "tools" not in body_of(model, [])
    with pytest.raises(InvalidArgument, match="without any tools"):
        model.bind_tools([], tool_choice="any")


def test_other_keywords_are_bound_too(model: Any) -> None:
    assert body_of(model, [weather], temperature=0.5)["temperature"] == 0.5


# ---------------------------------------------------------------- what cannot be sent


def named(name: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "d",
        "input_schema": {"type": "object", "properties": {}, **schema},
    }


FREE = {"properties": {"at": {"type": "object", "properties": {"tags": {"type": "object"}}}}}
NODE = {"$ref": "#/$defs/Node"}
LIST = {
    "properties": {"first": NODE},
    "$defs": {"Node": {"type": "object", "properties": {"next": NODE}}},
}


@pytest.mark.parametrize(
    ("tools", "options", "said"),
    [
        ([named("a b")], {}, r"The tool `a b` cannot be sent under this name.*https://"),
        (
            [named("n", type="array")],
            {},
            r"The tool `n` .* is of type `array`, and it must be an object",
        ),
        ([named("n", anyOf=[{}])], {}, r"outermost schema has `anyOf`"),
        ([named("n", **FREE)], {"strict": True}, r"`at\.tags` is an object with any keys"),
        (
            [named("n", properties={"x": {"not": {}}})],
            {"strict": True},
            r"`x` has `not`, which strict mode",
        ),
        (
            [weather],
            {"tool_choice": "wether"},
            r"`wether`, which is not one of the tools. Did you mean `weather`",
        ),
        ([weather], {"tool_choice": 3}, "not a `int`"),
        (weather, {}, "is a list of tools, not a `function`. Did you mean a list"),
        ([3], {}, "cannot be a `int`"),
    ],
)
def test_what_the_provider_cannot_take_is_said_before(
    model: Any, tools: Any, options: Any, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        model.bind_tools(tools, **options)


def test_a_schema_that_contains_itself_is_strict_at_openai_only() -> None:
    tools = body_of(MODELS["openai"], [named("n", **LIST)], strict=True)["tools"]
    assert tools[0]["function"]["parameters"]["$defs"]["Node"]["required"] == ["next"]
    assert body_of(MODELS["anthropic"], [named("n", **LIST)])["tools"][0]["name"] == "n"
    with pytest.raises(InvalidArgument, match="`Node` contains itself"):
        MODELS["anthropic"].bind_tools([named("n", **LIST)], strict=True)


def test_a_service_that_only_speaks_like_openai_is_left_to_say_so_itself() -> None:
    other = ChatOpenAI(
        model="m", api_key="k", provider="elsewhere", base_url="https://llm.example.org/v1"
    )
    assert body_of(other, [named("a.b")])["tools"][0]["function"]["name"] == "a.b"
    with pytest.raises(InvalidArgument, match=r"any keys.*closes every object"):
        other.bind_tools([named("n", **FREE)], strict=True)


def test_a_model_that_knows_no_tools_says_so() -> None:
    class Mute(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "mute"

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise MissingKey

    with pytest.raises(NotImplementedError, match="`Mute` does not support tools"):
        Mute().bind_tools([weather])
    with pytest.raises(NotImplementedError, match="`Mute`"):
        Mute().with_structured_output(Time)


def test_two_tools_of_one_name_are_the_providers_to_judge() -> None:
    assert len(body_of(MODELS["openai"], [weather, weather])["tools"]) == 2


class Report(BaseModel):
    """A report."""

    sky: str


def test_a_class_as_response_format_beside_tools_is_sent_as_its_schema() -> None:
    form = body_of(MODELS["openai"], [weather], response_format=Report)["response_format"]
    assert form["json_schema"]["name"] == "Report"
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["required"] == ["sky"]
    later = MODELS["openai"].build_request("hi", response_format=Report).body["response_format"]
    assert later == form


@pytest.mark.parametrize("tool_as", ["class", "openai dict", "anthropic dict"])
def test_a_strict_tool_of_anthropics_says_bounds_in_words(tool_as: str) -> None:
    """The wire takes no `minimum`, `maxLength`, `pattern` ... in strict mode: as the SDK has it for `output_config`."""
    model = ChatAnthropic(model="m", api_key="k", max_tokens=9)
    schema = Order.model_json_schema()
    given: Any = Order
    options: dict[str, Any] = {"strict": True}
    if tool_as == "openai dict":
        function = {
            "name": "Order",
            "description": "Order wine.",
            "parameters": schema,
            "strict": True,
        }
        given, options = {"type": "function", "function": function}, {}
    elif tool_as == "anthropic dict":
        given = {
            "name": "Order",
            "description": "Order wine.",
            "input_schema": schema,
            "strict": True,
        }
        options = {}
    bound: Any = model.bind_tools([given], **options)
    (sent,) = model.build_request("hi", **bound.kwargs).body["tools"]
    theirs = without_titles(anthropic.transform_schema(schema))
    theirs.pop("description", None)
    assert sent["strict"] is True
    found = without_titles(sent["input_schema"])
    found.pop("description", None)
    assert found == theirs
    assert "maximum: 12" in found["properties"]["bottles"]["description"]
    plain: Any = model.bind_tools([Order])
    (sent,) = model.build_request("hi", **plain.kwargs).body["tools"]
    assert sent["input_schema"]["properties"]["bottles"]["maximum"] == 12


def test_tools_of_a_binding_keep_what_was_bound_before(colour: Any) -> None:
    with ProviderServer() as server:
        for wire in ("openai", "anthropic"):
            bound = server.model(wire).bind(stop=["END"], temperature=0.5).with_config(tags=["t"])  # type: ignore[arg-type]
            made: Any = bound.bind_tools(
                [{"name": "add", "description": "Add.", "input_schema": {"type": "object"}}]
            )
            colour.invoke(made.bind(temperature=0.25), "hi")
            body = server.requests[-1].body
            assert (body.get("stop") or body["stop_sequences"], body["temperature"]) == (
                ["END"],
                0.25,
            )
            assert len(body["tools"]) == 1
            assert made.config["tags"] == ["t"]
    later: Any = bound.bind_tools([]).bind_tools(
        [{"name": "sub", "description": "-", "input_schema": {}}]
    )
    assert len(later.kwargs["tools"]) == 1


def test_a_name_is_refused_by_the_rule_of_its_provider() -> None:
    """Gemini takes dots and colons, and 128 characters, the first no digit."""
    model = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k")
    model.bind_tools([named("a.b:" + "c" * 124)])
    for name in ("1a", "a b"):
        with pytest.raises(
            InvalidArgument, match=r"must match `\[a-zA-Z_\]\[a-zA-Z0-9_\.:-\]\{0,127\}`"
        ):
            model.bind_tools([named(name)])
