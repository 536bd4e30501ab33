"""Whatever a tool can be made of, in the shapes providers take."""

from __future__ import annotations

import pickle
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field
from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)
from pydantic.v1 import BaseModel as OldModel
from pydantic.v1 import Field as OldField

from modelwire.errors import InvalidArgument, InvalidType, NoJsonSchema
from modelwire.messages import AIMessage, HumanMessage, ToolMessage
from modelwire.tools import InjectedToolArg, StructuredTool, Tool, convert_to_anthropic_tool, tool
from modelwire.tools.function_calling import (
    convert_to_json_schema,
    convert_to_openai_function,
    convert_to_openai_tool,
    tool_example_to_messages,
)

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where."},
        "unit": {"type": "string", "enum": ["C", "F"]},
    },
    "required": ["city", "unit"],
}
WEATHER = {"name": "weather", "description": "Look outside.", "parameters": PARAMETERS}


def weather(city: str, unit: Literal["C", "F"]) -> str:
    """Look outside.

    Args:
        city: Where.
    """
    return city + unit


class Station:
    def weather(self, city: str, unit: Literal["C", "F"]) -> str:
        """Look outside.

        Args:
            city: Where.
        """
        return city + unit


class weather_model(BaseModel):
    """Look outside."""

    model_config = ConfigDict(title="weather")

    city: str = Field(description="Where.")
    unit: Literal["C", "F"]


class OldWeather(OldModel):
    """Look outside."""

    class Config:
        title = "weather"

    city: str = OldField(description="Where.")
    unit: Literal["C", "F"]


def typed_dicts() -> list[Any]:
    class First(TypedDict):
        """Look outside."""

        city: Annotated[str, ..., "Where."]
        unit: Literal["C", "F"]

    class Second(typing_extensions.TypedDict):
        """Look outside.

        Args:
            city: Where.
        """

        city: str
        unit: Literal["C", "F"]

    First.__name__ = Second.__name__ = "weather"
    return [First, Second]


def _annotated() -> Any:
    def weather(city: Annotated[str, "Where."], unit: Literal["C", "F"]) -> str:
        """Look outside."""
        return city + unit

    return weather


FORMS = {
    "function": weather,
    "unbound method": Station.weather,
    "bound method": Station().weather,
    "annotated function": _annotated(),
    "pydantic": weather_model,
    "pydantic v1": OldWeather,
    **{f"typed dict {i}": form for i, form in enumerate(typed_dicts())},
    "tool": tool(weather, parse_docstring=True, description="Look outside."),
    "tool with a json schema": StructuredTool(
        name="weather", description="Look outside.", args_schema=PARAMETERS
    ),
    "json schema": {"title": "weather", "description": "Look outside.", **PARAMETERS},
    "anthropic": {"name": "weather", "description": "Look outside.", "input_schema": PARAMETERS},
    "bedrock": {
        "toolSpec": {
            "name": "weather",
            "description": "Look outside.",
            "inputSchema": {"json": PARAMETERS},
        }
    },
    "openai function": WEATHER,
    "openai tool": {"type": "function", "function": WEATHER},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_the_same_tool(form: Any) -> None:
    assert convert_to_openai_function(form) == WEATHER
    assert convert_to_openai_tool(form) == {"type": "function", "function": WEATHER}
    assert convert_to_anthropic_tool(form) == {
        "name": "weather",
        "description": "Look outside.",
        "input_schema": PARAMETERS,
    }
    assert convert_to_json_schema(form) == {
        "title": "weather",
        "description": "Look outside.",
        **PARAMETERS,
    }


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_strict_closes_and_changes_nothing_given(form: Any) -> None:
    strict = convert_to_openai_function(form, strict=True)
    assert strict == {
        **WEATHER,
        "strict": True,
        "parameters": {**PARAMETERS, "additionalProperties": False},
    }
    assert "additionalProperties" not in PARAMETERS
    assert convert_to_openai_function(form) == WEATHER
    assert convert_to_anthropic_tool(form, strict=True)["strict"] is True


@pytest.mark.parametrize(
    "own",
    [
        {"type": "apply_patch"},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "mcp", "a": {}},
    ],
)
def test_a_providers_own_kind_of_tool_passes_as_it_is(own: dict[str, Any]) -> None:
    assert convert_to_openai_tool(own) == own
    assert convert_to_anthropic_tool(own, strict=True) == own


def test_nested_models_are_inlined_and_recursive_ones_kept() -> None:
    class Kind(Enum):
        A = "a"

    class Leaf(BaseModel):
        kind: Kind = Field(description="d")

    class Tree(BaseModel):
        leaf: Leaf
        trees: list[Tree] = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree, "Leaf": Leaf})
    parameters = convert_to_openai_function(Tree)["parameters"]
    assert parameters["properties"]["leaf"]["properties"]["kind"] == {
        "type": "string",
        "enum": ["a"],
        "description": "d",
    }
    assert parameters["properties"]["trees"]["items"] == {"$ref": "#/$defs/Tree"}
    assert parameters["type"] == "object"
    assert list(parameters["$defs"]) == ["Tree"]
    strict = convert_to_openai_function(Tree, strict=True)["parameters"]
    assert strict["$defs"]["Tree"]["required"] == ["leaf", "trees"]


class Inner(TypedDict):
    """Inside."""

    n: int


class Outer(TypedDict):
    one: Annotated[Optional[str], None, "One."]
    two: Annotated[int, 3]
    three: NotRequired[list[Inner]]
    four: Annotated[str, "Four."]


def test_keys_of_a_typed_dict_have_defaults_and_may_be_left_out() -> None:
    parameters = convert_to_openai_function(Outer)["parameters"]
    assert parameters["required"] == ["four"]
    one, two, three, four = parameters["properties"].values()
    assert one == {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": None,
        "description": "One.",
    }
    assert two == {"type": "integer", "default": 3}
    inner = {
        "type": "object",
        "description": "Inside.",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    assert three == {"type": "array", "items": inner}
    assert four == {"type": "string", "description": "Four."}


class Endless(TypedDict):
    next: Optional[Endless]


def test_a_typed_dict_that_contains_itself_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="`Endless` contains itself"):
        convert_to_openai_function(Endless)


def test_a_function_of_nothing_and_a_simple_tool() -> None:
    def now() -> str:
        """Tell the time."""
        return "12"

    assert convert_to_openai_function(now, strict=True) == {
        "name": "now",
        "description": "Tell the time.",
        "strict": True,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    simple = Tool("echo", lambda x: x, "Say it again.")
    assert convert_to_openai_function(simple)["parameters"]["required"] == ["__arg1"]


class Plain: ...


def test_injected_arguments_are_not_shown() -> None:
    def find(what: str, connection: Annotated[Plain, InjectedToolArg]) -> str:
        """Find it."""
        return what

    for form in (find, tool(find)):
        assert list(convert_to_openai_function(form)["parameters"]["properties"]) == ["what"]


def test_extras_go_to_anthropic_alone() -> None:
    @tool(extras={"cache_control": {"type": "ephemeral"}})
    def find(what: str) -> str:
        """Find it."""
        return what

    assert convert_to_anthropic_tool(find)["cache_control"] == {"type": "ephemeral"}
    assert set(convert_to_openai_tool(find)) == {"type", "function"}
    marked = {"name": "n", "input_schema": PARAMETERS, "cache_control": {"type": "ephemeral"}}
    assert convert_to_anthropic_tool(marked)["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (3, InvalidType, "cannot be a `int`"),
        (Plain, InvalidType, "cannot be the class `Plain`"),
        ({"type": "object", "properties": {"a": {}}}, InvalidArgument, "top-level 'title' .*'a'"),
        ({"foo": 1}, InvalidArgument, "is not a tool: .*'foo'"),
        ("search", InvalidType, "cannot be a `str`"),
    ],
)
def test_what_is_no_tool_is_refused(wrong: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        convert_to_openai_function(wrong)


def test_a_type_json_cannot_say_is_refused_by_name() -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        plain: Plain

    with pytest.raises(NotImplementedError, match=r"`Odd` has no JSON schema.*Plain"):
        convert_to_openai_function(Odd)
    with pytest.raises(PydanticInvalidForJsonSchema) as caught:
        convert_to_openai_function(Odd)
    copied = pickle.loads(pickle.dumps(caught.value))
    for error in (caught.value, copied):
        assert isinstance(error, NoJsonSchema)
        assert error.code == "invalid-for-json-schema"
        assert "further information" not in str(error)
        assert str(error) == str(caught.value)


@pytest.mark.parametrize("form", ["function", "typed dict", "model"])
def test_an_undefined_name_is_pydantics_error_and_pythons_too(form: str) -> None:
    def find(what: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Find it."""

    class Lost(TypedDict):
        what: Missing  # type: ignore[name-defined]  # noqa: F821

    class Model(BaseModel):
        what: Missing  # type: ignore[name-defined]  # noqa: F821

    wrong = {"function": find, "typed dict": Lost, "model": Model}[form]
    for kind in (PydanticUndefinedAnnotation, PydanticUserError, NameError, InvalidArgument):
        with pytest.raises(kind, match="Missing") as caught:
            convert_to_openai_function(wrong)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_annotation_that_cannot_be_resolved_is_refused_by_name() -> None:
    def find(what: Missing) -> str:  # type: ignore[name-defined]  # noqa: F821
        """Find it."""
        return str(what)

    with pytest.raises(InvalidArgument, match="`Missing` of the parameter `what`"):
        convert_to_openai_function(find)


def test_two_words_on_strict_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="has `strict=False`, the call has `strict=True`"):
        convert_to_openai_function({"name": "n", "strict": False}, strict=True)


def test_examples_become_messages() -> None:
    class Person(BaseModel):
        name: str

    messages = tool_example_to_messages("Ann", [Person(name="Ann")], ["ok"], ai_response="done")
    assert [type(message) for message in messages] == [
        HumanMessage,
        AIMessage,
        ToolMessage,
        AIMessage,
    ]
    call = messages[1].additional_kwargs["tool_calls"][0]
    assert call["function"] == {"name": "Person", "arguments": '{"name":"Ann"}'}
    assert messages[2].tool_call_id == call["id"]  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgument, match="numbers must match"):
        tool_example_to_messages("Ann", [Person(name="Ann")], ["a", "b"])


def test_a_typed_dict_of_unknown_types_is_refused() -> None:
    class Lost(TypedDict):
        what: Missing  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidArgument, match="`Lost` cannot be resolved"):
        convert_to_openai_function(Lost)
