"""`@tool` in all its forms, runnables and retrievers as tools, and tools as text."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from modelwire.callbacks import CallbackManagerForToolRun
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import HumanMessage, ToolMessage
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableConfig, RunnableLambda, ensure_config
from modelwire.tools import (
    BaseTool,
    BaseToolkit,
    StructuredTool,
    Tool,
    convert_runnable_to_tool,
    convert_to_openai_tool,
    create_retriever_tool,
    create_schema_from_function,
    render_text_description,
    render_text_description_and_args,
    tool,
)


def search(query: str, limit: int = 3) -> str:
    """Search the web."""
    return f"{query} {limit}"


async def asearch(query: str, limit: int = 3) -> str:
    """Search the web."""
    return f"{query} {limit}"


@pytest.mark.parametrize("function", [search, asearch])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (tool, None),
        (tool(), None),
        (tool("find"), "find"),
        (tool("find", return_direct=True), "find"),
        (tool(description="Search the web."), None),
    ],
)
def test_every_form_makes_the_same_tool(function: Any, make: Any, name: str | None) -> None:
    made = make(function)
    assert isinstance(made, StructuredTool)
    assert made.name == (name or function.__name__)
    assert made.description == "Search the web."
    assert (made.func, made.coroutine).count(function) == 1
    assert made.tool_call_schema.model_json_schema() == {  # type: ignore[union-attr]
        "title": made.name,
        "description": "Search the web.",
        "type": "object",
        "properties": {
            "query": {"title": "Query", "type": "string"},
            "limit": {"title": "Limit", "type": "integer", "default": 3},
        },
        "required": ["query"],
    }


def test_descriptions_come_from_annotations_fields_and_docstrings() -> None:
    @tool(parse_docstring=True)
    def find(
        a: str,
        b: Annotated[int, "The b."],
        c: Annotated[int, Field(description="The c.", ge=1)] = 1,
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> str:
        """Find it.

        Anywhere.

        Args:
            a: The a.
            b: Not this one.
            c: Nor this one.
        """
        return a

    assert find.description == "Find it. Anywhere."
    shown = {name: schema.get("description") for name, schema in find.args.items()}
    assert shown == {"a": "The a.", "b": "The b.", "c": "The c."}
    assert find.args["c"]["minimum"] == 1
    hints = find.get_input_schema().__annotations__
    assert hints["b"] == Annotated[int, "The b."]
    assert [mark for mark in hints["c"].__metadata__ if isinstance(mark, FieldInfo)]
    assert find.get_input_schema().model_fields["b"].metadata == ["The b."]


def test_a_docstring_that_does_not_fit_is_refused_unless_it_may() -> None:
    with pytest.raises(InvalidArgument, match="invalid Google-Style docstring in `search`"):
        tool(search, parse_docstring=True)
    assert (
        tool(parse_docstring=True, error_on_invalid_docstring=False)(search).description
        == "Search the web."
    )


def test_a_tool_without_words_is_refused() -> None:
    def silent(x: str) -> str:
        return x

    with pytest.raises(InvalidArgument, match="what `silent` does"):
        tool(silent)
    with pytest.raises(InvalidArgument, match="what `silent` does"):
        tool(infer_schema=False)(silent)
    assert tool(infer_schema=False, description="d")(silent).description == "d"

    class Words(BaseModel):
        """By its schema."""

        x: str

    assert tool(args_schema=Words)(silent).description == "By its schema."
    assert (
        tool(args_schema={"description": "By JSON.", "properties": {"x": {}}})(silent).description
        == "By JSON."
    )


def test_a_class_may_be_a_tool() -> None:
    @tool
    class Person(BaseModel):
        name: str

    assert Person.description == ""
    assert Person.invoke({"name": "Ann"}).name == "Ann"


def test_parameters_may_be_named_like_methods_of_a_model() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @tool
        def odd(schema: str, copy: int, model_name: str, json: str = "j") -> list[Any]:
            """Odd names."""
            return [schema, copy, model_name, json]

    assert odd.invoke({"schema": "s", "copy": "1", "model_name": "m"}) == ["s", 1, "m", "j"]
    assert list(odd.args) == ["schema", "copy", "model_name", "json"]


def test_what_cannot_be_a_tool_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="`_x` of `hidden` begins with an underscore"):

        @tool
        def hidden(_x: str) -> str:
            """Hidden."""
            return _x

    with pytest.raises(InvalidType, match="not a `int`"):
        tool(3)  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument, match="needs a name"):
        tool(search, RunnableLambda(search))  # type: ignore[call-overload]


def test_a_schema_leaves_out_what_is_asked() -> None:
    def f(a: int, b: str, config: RunnableConfig, *args: Any, **kwargs: Any) -> None:
        """Do."""

    assert list(create_schema_from_function("F", f).model_fields) == ["a", "b"]
    left_out = ["a"]
    assert list(create_schema_from_function("F", f, filter_args=left_out).model_fields) == ["b"]
    assert left_out == ["a"]


# ---------------------------------------------------------------- runnables


class Query(TypedDict):
    a: int
    b: list[int]


def largest(x: Query) -> str:
    return str(x["a"] * max(x["b"]))


def anything(x: dict[str, Any]) -> str:
    return str(x["a"] * max(x["b"])) + str(ensure_config()["configurable"].get("k", ""))


def test_a_runnable_with_known_keys_is_a_tool(colour: Any) -> None:
    made = RunnableLambda(largest).as_tool()
    assert (made.name, bool(made.description)) == ("largest", True)
    assert colour.invoke(made, {"a": 3, "b": [1, 2]}) == "6"
    assert list(made.args) == ["a", "b"]
    for options in ({"arg_types": {"a": int, "b": list[int]}}, {"args_schema": made.args_schema}):
        other = convert_runnable_to_tool(
            RunnableLambda(anything), **options, name="n", description="d"
        )
        assert (other.name, other.description) == ("n", "d")
        assert colour.invoke(other, {"a": "3", "b": [1, 2]}, {"configurable": {"k": "!"}}) == "6!"


def test_a_runnable_of_text_is_a_simple_tool(colour: Any) -> None:
    def shout(x: str) -> str:
        return x + "!"

    made = (RunnableLambda(shout) | shout).as_tool(name="shout")
    assert isinstance(made, Tool)
    assert made.args_schema is None
    assert colour.invoke(made, "a") == "a!!"


def test_a_prompt_is_a_tool_of_its_variables(colour: Any) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "Hi {name}")])
    made = tool("greet", prompt)
    assert isinstance(made, BaseTool)
    assert made.description.endswith(repr(prompt))
    assert list(made.args) == ["name"]
    assert colour.invoke(made, {"name": "Ann"}).to_messages() == [HumanMessage("Hi Ann")]


def test_a_runnable_whose_keys_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="keys that `anything` takes cannot be read"):
        RunnableLambda(anything).as_tool()


# ---------------------------------------------------------------- retrievers, text, sets


class Found:
    def __init__(self, text: str) -> None:
        self.page_content = text
        self.metadata = {"source": "s"}


@pytest.mark.parametrize("artifact", [False, True])
def test_a_retriever_is_a_tool(colour: Any, artifact: bool) -> None:
    found = [Found("one"), Found("two")]
    retriever = RunnableLambda(lambda query: found)
    kind: Any = "content_and_artifact" if artifact else "content"
    made = create_retriever_tool(retriever, "find", "Find it.", response_format=kind)
    assert colour.invoke(made, "q") == "one\n\ntwo"
    answer = colour.invoke(
        made, {"type": "tool_call", "name": "find", "args": {"query": "q"}, "id": "1"}
    )
    assert answer == ToolMessage(
        "one\n\ntwo", tool_call_id="1", name="find", artifact=found if artifact else None
    )


def test_tools_are_said_in_text() -> None:
    tools = [tool(search), Tool("echo", None, "Say it again.")]
    assert render_text_description(tools) == (
        "search(query: 'str', limit: 'int' = 3) -> 'str' - Search the web.\necho - Say it again."
    )
    assert render_text_description_and_args(tools[1:]) == (
        "echo - Say it again., args: {'tool_input': {'type': 'string'}}"
    )


def test_a_toolkit_has_fields_and_tools() -> None:
    class Kit(BaseToolkit):
        names: list[str]

        def get_tools(self) -> list[BaseTool]:
            return [Tool(name, None, "d") for name in self.names]

    assert [made.name for made in Kit(names=["a", "b"]).get_tools()] == ["a", "b"]


def test_parameters_without_types_warn() -> None:
    def join(first, second, times: int = 1):  # type: ignore[no-untyped-def]
        """Join two texts."""
        return first + second

    with pytest.warns(UserWarning, match="anything to `first` and `second` of `join`: annotate"):
        made = tool(join)
    assert list(made.args) == ["first", "second", "times"]
    with pytest.warns(UserWarning, match="annotate them with types"):
        convert_to_openai_tool(join)
