"""What a tool does when it is called, in both colours: arguments, answers, errors, and who hears of it."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, Field, ValidationError
from pydantic.v1 import BaseModel as OldModel

from modelwire.callbacks import BaseCallbackHandler, CallbackManagerForToolRun
from modelwire.errors import InvalidArgument, ModelwireError, Timeout
from modelwire.messages import ToolMessage
from modelwire.messages.tool import ToolOutputMixin
from modelwire.runnables import RunnableConfig, RunnableLambda, ensure_config
from modelwire.tools import (
    BaseTool,
    InjectedToolArg,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from modelwire.tools.base import SchemaAnnotationError, _DirectlyInjectedToolArg


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_tool_start(self, serialized: Any, input_str: str, **about: Any) -> None:
        self.heard.append(
            ("start", serialized["name"], about["name"], about["inputs"], about["tool_call_id"])
        )
        self.run_id = about["run_id"]

    def on_tool_end(self, output: Any, **about: Any) -> None:
        self.heard.append(("end", output))

    def on_tool_error(self, error: BaseException, **about: Any) -> None:
        self.heard.append(("error", type(error), about["tool_call_id"]))

    def on_chain_start(self, serialized: Any, inputs: Any, **about: Any) -> None:
        self.heard.append(("inner", about["parent_run_id"] == self.run_id))


def call(args: dict[str, Any], id: str | None = "c1") -> dict[str, Any]:
    return {"type": "tool_call", "name": "any", "args": args, "id": id}


class Pair(BaseModel):
    a: int
    b: int = 2


@tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@tool
async def slow_add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return a + b


class Adder(BaseTool):
    name: str = "add"
    description: str = "Add two numbers."
    args_schema: type[BaseModel] = Pair

    def _run(self, a: int, b: int) -> int:
        return a + b


BOTH = StructuredTool.from_function(
    lambda a, b=2: a + b, lambda a, b=2: _sum(a, b), "add", "Add.", args_schema=Pair
)


async def _sum(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("adder", [add, Adder(), BOTH], ids=["decorated", "class", "two functions"])
def test_arguments_are_validated_and_defaults_filled_in(colour: Any, adder: BaseTool) -> None:
    given = {"a": "1"}
    assert colour.invoke(adder, given) == 3
    assert given == {"a": "1"}
    assert colour.invoke(adder, {"a": 1, "b": 5, "c": 9}) == 6
    assert colour.batch(adder, [{"a": 1}, {"a": 2}]) == [3, 4]
    with pytest.raises(ValidationError, match="1 validation error"):
        colour.invoke(adder, {"a": "x"})


def test_a_tool_of_a_coroutine_only_is_async_only() -> None:
    assert asyncio.run(slow_add.ainvoke({"a": 1})) == 3
    with pytest.raises(NotImplementedError, match="`ainvoke`"):
        slow_add.invoke({"a": 1})


@pytest.mark.parametrize("id", ["c1", ""])
def test_a_tool_call_is_answered_with_a_tool_message(colour: Any, id: str) -> None:
    given = call({"a": 1}, id)
    assert colour.invoke(add, given) == ToolMessage("3", tool_call_id=id, name="add")
    assert given == call({"a": 1}, id)
    assert colour.run(
        lambda: add.run({"a": 1}, tool_call_id=id), lambda: add.arun({"a": 1}, tool_call_id=id)
    ) == (ToolMessage("3", tool_call_id=id, name="add"))


class Own(ToolOutputMixin):
    pass


OWN = [Own(), ToolMessage("x", tool_call_id="other")]


@pytest.mark.parametrize(
    ("returned", "content"),
    [
        ("text", "text"),
        ({"k": "ü"}, '{"k": "ü"}'),
        ([1, 2], "[1, 2]"),
        ([{"type": "text", "text": "t"}], [{"type": "text", "text": "t"}]),
        (
            ({"type": "image_url", "image_url": {}}, "t"),
            [{"type": "image_url", "image_url": {}}, "t"],
        ),
        ([{"type": "odd"}], '[{"type": "odd"}]'),
        ([], []),
        (None, "null"),
        ({1, 2}, "{1, 2}"),
    ],
)
def test_what_a_tool_returns_becomes_what_a_message_can_say(returned: Any, content: Any) -> None:
    echo = StructuredTool.from_function(lambda: returned, name="echo", description="d")
    assert echo.invoke(call({})).content == content
    assert echo.invoke({}) is returned


def test_an_output_of_its_own_kind_is_returned_as_it_is() -> None:
    for own in (OWN[0], OWN[1], OWN):
        made = StructuredTool.from_function(lambda: own, name="n", description="d")  # noqa: B023
        assert made.invoke(call({})) is own


def test_content_and_artifact(colour: Any) -> None:
    @tool(response_format="content_and_artifact")
    def find(what: str) -> tuple[str, list[str]]:
        """Find it."""
        return "one", [what]

    assert colour.invoke(find, {"what": "w"}) == "one"
    assert colour.invoke(find, call({"what": "w"})) == ToolMessage(
        "one", artifact=["w"], tool_call_id="c1", name="find"
    )

    @tool(response_format="content_and_artifact")
    def wrong(what: str) -> str:
        """Find it."""
        return what

    with pytest.raises(InvalidArgument, match=r"must return a tuple of two.* a `str`"):
        colour.invoke(wrong, {"what": "w"})


# ---------------------------------------------------------------- errors


class Broken(BaseTool):
    name: str = "broken"
    description: str = "It breaks."
    args_schema: type[BaseModel] = Pair
    error: Exception = ToolException("oh")

    def _run(self, a: int, b: int) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("handler", "content"),
    [
        (True, "oh"),
        ("sorry", "sorry"),
        (lambda error: f"it said {error}", "it said oh"),
        (lambda _: ({"type": "text", "text": "t"},), [{"type": "text", "text": "t"}]),
        (lambda _: [{"text": "t"}], '[{"text": "t"}]'),
    ],
)
def test_a_tool_error_may_be_answered(colour: Any, handler: Any, content: Any) -> None:
    answer = colour.invoke(Broken(handle_tool_error=handler), call({"a": 1}))
    assert (answer.content, answer.status) == (content, "error")


@pytest.mark.parametrize(
    ("handler", "text"),
    [(True, "Tool input validation error"), ("sorry", "sorry"), (lambda error: "f", "f")],
)
def test_a_validation_error_may_be_answered(colour: Any, handler: Any, text: str) -> None:
    assert colour.invoke(Broken(handle_validation_error=handler), {"a": "x"}) == text


def test_what_nobody_handles_is_raised(colour: Any) -> None:
    with pytest.raises(ToolException, match="oh") as raised:
        colour.invoke(Broken(), {"a": 1})
    assert isinstance(raised.value, ModelwireError)
    with pytest.raises(KeyError):
        colour.invoke(
            Broken(error=KeyError("k"), handle_tool_error=True, handle_validation_error=True),
            {"a": 1},
        )
    with pytest.raises(InvalidArgument, match="not a `int`"):
        colour.invoke(Broken(handle_tool_error=3), {"a": 1})


def test_an_exception_of_the_program_itself_is_heard_too(colour: Any) -> None:
    class Stop(BaseException):
        pass

    @tool
    def stop() -> None:
        """Stop."""
        raise Stop

    listener = Listener()
    with pytest.raises(Stop):
        colour.invoke(stop, call({}), {"callbacks": [listener]})
    assert listener.heard[-1] == ("error", Stop, "c1")


def test_a_tool_that_is_late_times_out() -> None:
    @tool
    async def wait() -> None:
        """Wait."""
        await asyncio.sleep(30)

    with pytest.raises(Timeout, match="`wait`"):
        asyncio.run(wait.ainvoke({}, {"timeout": 0.02}))


# ---------------------------------------------------------------- what the program gives


class Session(_DirectlyInjectedToolArg):
    pass


def lookup(
    what: str,
    state: Annotated[Any, InjectedToolArg],
    session: Session,
    id: Annotated[str, InjectedToolCallId()],
) -> list[Any]:
    """Look it up."""
    return [what, state, session, id]


class Lookup(BaseTool):
    name: str = "lookup"
    description: str = "Look it up."

    def _run(
        self,
        what: str,
        state: Annotated[Any, InjectedToolArg],
        session: Session,
        id: Annotated[str, InjectedToolCallId],
    ) -> list[Any]:
        return [what, state, session, id]


class OnlyWhat(BaseModel):
    what: str


@pytest.mark.parametrize(
    "looker",
    [
        tool(lookup),
        Lookup(),
        tool(args_schema=OnlyWhat)(lookup),
        tool(args_schema=OnlyWhat.model_json_schema())(lookup),
    ],
    ids=["inferred", "class", "own schema", "json schema"],
)
def test_injected_arguments_reach_the_tool_and_nobody_else(colour: Any, looker: BaseTool) -> None:
    assert list(looker.args) == ["what"]
    lock, session, listener = threading.Lock(), Session(), Listener()
    given = call({"what": "w", "state": lock, "session": session, "id": "of the model"})
    answer = colour.invoke(looker, given, {"callbacks": [listener]})
    assert answer.content == str(["w", lock, session, "c1"])
    assert listener.heard[0] == ("start", "lookup", "lookup", {"what": "w"}, "c1")
    direct = {"what": "w", "state": 1, "session": session, "id": "direct"}
    assert colour.invoke(looker, direct) == ["w", 1, session, "direct"]
    with pytest.raises(InvalidArgument, match="InjectedToolCallId"):
        colour.invoke(looker, {"what": "w", "state": 1, "session": session})


def test_the_config_and_the_run_manager_are_given_to_those_who_ask(colour: Any) -> None:
    seen: list[Any] = []

    @tool
    def ask(
        what: str,
        settings: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
        callbacks: Any = None,
    ) -> str:
        """Ask."""
        assert run_manager is not None
        seen.append(
            (
                settings["configurable"],
                ensure_config()["configurable"],
                run_manager.handlers,
                callbacks.handlers,
            )
        )
        return what

    assert list(ask.args) == ["what"]
    listener = Listener()
    colour.invoke(ask, {"what": "w"}, {"configurable": {"k": 1}})
    colour.invoke(ask, {"what": "w"}, {"configurable": {"k": 1}, "callbacks": [listener]})
    assert seen == [({"k": 1}, {"k": 1}, [], []), ({"k": 1}, {"k": 1}, [listener], [listener])]


def test_a_coroutine_gets_a_manager_that_can_be_awaited() -> None:
    @tool
    async def tell(what: str, run_manager: Any = None) -> str:
        """Tell."""
        await run_manager.on_text("x")
        return what

    for config in ({}, {"callbacks": [Listener()]}):
        assert asyncio.run(tell.ainvoke({"what": "w"}, config)) == "w"


def test_a_runnable_within_a_tool_is_its_child(colour: Any) -> None:
    inner = RunnableLambda(lambda x: x)

    @tool
    def outer(x: int) -> int:
        """Call another."""
        return inner.invoke(x)

    listener = Listener()
    assert colour.invoke(outer, {"x": 1}, {"callbacks": [listener], "run_name": "mine"}) == 1
    start = ("start", "outer", "mine", {"x": 1}, None)
    assert listener.heard == [start, ("inner", True), ("end", 1)]


# ---------------------------------------------------------------- forms


def test_a_text_is_the_first_argument(colour: Any) -> None:
    listener = Listener()

    @tool
    def shout(text: str, mark: str = "!") -> str:
        """Shout."""
        return text + mark

    assert colour.invoke(shout, "hi", {"callbacks": [listener]}) == "hi!"
    assert listener.heard[0][3] is None
    now = StructuredTool.from_function(lambda: "12", name="now", description="d")
    assert colour.invoke(now, "") == "12"
    described = StructuredTool(
        name="n", description="d", func=lambda x: x, args_schema={"properties": {"x": {}}}
    )
    with pytest.raises(InvalidArgument, match="takes a dict"):
        colour.invoke(described, "x")


def test_a_simple_tool_takes_one_argument(colour: Any) -> None:
    echo = Tool("echo", lambda x: x, "Say it again.")
    assert colour.invoke(echo, "a") == "a"
    assert colour.invoke(echo, {"whatever": "a"}) == "a"
    assert colour.invoke(echo, call({"__arg1": "a"})).content == "a"
    assert echo.args == {"tool_input": {"type": "string"}}
    with pytest.raises(ToolException, match="got 2"):
        colour.invoke(echo, {"a": 1, "b": 2})
    with pytest.raises(InvalidArgument, match="`func` or a `coroutine`"):
        Tool.from_function(None, "n", "d")


def test_a_schema_of_pydantic_v1_is_as_good(colour: Any) -> None:
    class Old(OldModel):
        a: int
        secret: Annotated[str, InjectedToolArg()] = "s"

    old = StructuredTool.from_function(
        lambda a, secret: [a, secret], name="n", description="d", args_schema=Old
    )
    assert list(old.args) == ["a"]
    assert colour.invoke(old, {"a": "1"}) == [1, "s"]
    assert (
        StructuredTool.from_function(
            lambda a, secret: 0,
            name="n",
            description="d",
            args_schema=Old,
            handle_validation_error=True,
        ).invoke({"a": "x"})
        == "Tool input validation error"
    )


def test_a_field_with_other_names_reaches_the_tool() -> None:
    class Aliased(BaseModel):
        real: str = Field(validation_alias=AliasChoices("real", "other"))

    assert (
        StructuredTool.from_function(
            lambda real: real, name="n", description="d", args_schema=Aliased
        ).invoke({"other": "v"})
        == "v"
    )


def test_what_the_model_sees_follows_the_tool() -> None:
    adder = Adder()
    seen = adder.tool_call_schema
    assert adder.tool_call_schema is seen
    adder.description = "Other."
    assert adder.tool_call_schema.model_json_schema()["description"] == "Other."  # type: ignore[union-attr]
    again = pickle.loads(pickle.dumps(adder))
    assert again.invoke({"a": 1}) == 3
    assert (
        again.model_copy(update={"name": "plus"}).tool_call_schema.model_json_schema()["title"]
        == "plus"
    )


def test_a_tool_can_be_said_in_json() -> None:
    said = add.model_dump(mode="json")
    assert said["args_schema"]["required"] == ["a"]
    assert said["func"].startswith("<function add")
    assert add.model_dump()["args_schema"] is add.args_schema


def test_a_schema_annotated_as_an_object_is_refused() -> None:
    with pytest.raises(SchemaAnnotationError, match=r"type\[BaseModel\]"):

        class Wrong(BaseTool):
            name: str = "n"
            description: str = "d"
            args_schema: BaseModel = Pair  # type: ignore[assignment]


def test_an_argument_of_a_tool_may_be_named_config(colour: Any) -> None:
    def read(config: str, other: int = 1) -> str:
        """Read a file."""
        return f"{config} {other}"

    async def aread(config: str, other: int = 1) -> str:
        """Read a file."""
        return read(config, other)

    def with_both(config: str, given: RunnableConfig) -> str:
        """Read a file."""
        return f"{config} {given['tags']}"

    for subject in (
        StructuredTool.from_function(read),
        StructuredTool.from_function(read, aread),
        RunnableLambda(lambda given: f"{given['config']} {given['other']}").as_tool(
            name="read", description="Read.", arg_types={"config": str, "other": int}
        ),
    ):
        assert colour.invoke(subject, {"config": "app.toml", "other": 2}) == "app.toml 2"
        assert set(subject.args) == {"config", "other"}
    both = StructuredTool.from_function(with_both)
    assert colour.invoke(both, {"config": "app.toml"}, {"tags": ["t"]}) == "app.toml ['t']"


def test_a_subclass_may_hand_a_config_on(colour: Any) -> None:
    def seen(x: int, given: RunnableConfig) -> list[str]:
        """See."""
        return given["tags"]

    class Mine(StructuredTool):
        def _run(
            self, *args: Any, config: RunnableConfig, run_manager: Any = None, **kwargs: Any
        ) -> Any:
            return super()._run(
                *args, config={**config, "tags": ["mine"]}, run_manager=run_manager, **kwargs
            )

    assert colour.invoke(Mine.from_function(seen), {"x": 1}) == ["mine"]


def area(width: int, height: int = 2, /, depth: int = 1, *, unit: str = "m") -> str:
    """Multiply."""
    return f"{width * height * depth} {unit}"


async def aarea(width: int, height: int = 2, /, depth: int = 1, *, unit: str = "m") -> str:
    """Multiply."""
    return area(width, height, depth, unit=unit)


class Area(BaseTool):
    name: str = "area"
    description: str = "Multiply."

    def _run(self, width: int, height: int = 2, /, depth: int = 1, *, unit: str = "m") -> str:
        return area(width, height, depth, unit=unit)


@pytest.mark.parametrize("made", [tool(area), StructuredTool.from_function(area, aarea), Area()])
def test_positional_only_parameters_are_arguments_like_others(colour: Any, made: Any) -> None:
    assert list(made.args) == ["width", "height", "depth", "unit"]
    assert colour.invoke(made, {"width": 3}) == "6 m"
    assert colour.invoke(made, {"width": 3, "height": 3, "depth": 2, "unit": "l"}) == "18 l"
    assert colour.invoke(made, {"width": 3, "depth": 2}) == "12 m"


def test_the_json_of_a_tool_has_its_truth_values_and_texts() -> None:
    def handled(error: Exception) -> str:
        return "no"

    made = tool(area)
    shown = json.loads(made.model_dump_json())
    assert (shown["handle_tool_error"], shown["handle_validation_error"]) == (False, False)
    made.handle_tool_error, made.handle_validation_error = True, "try again"
    shown = json.loads(made.model_dump_json())
    assert (shown["handle_tool_error"], shown["handle_validation_error"]) == (True, "try again")
    made.handle_tool_error = handled
    assert "handled" in json.loads(made.model_dump_json())["handle_tool_error"]
