"""Tools over the border: LangGraph's marks at the arguments of ours, and LangChain's tools in `run_tools`."""

from __future__ import annotations

from typing import Annotated, Any

import langchain_core.tools as theirs
import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig as TheirConfig
from langchain_core.tools import InjectedToolCallId as TheirCallId
from langgraph.graph import MessagesState
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

import modelwire.messages as our_messages
from modelwire.errors import InvalidType
from modelwire.langchain import as_langchain
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer
from modelwire.tools import (
    arun_tools,
    astream_tools,
    run_tools,
    stream_tools,
    tool,
)


@tool
def with_state(a: int, state: Annotated[MessagesState, InjectedState]) -> str:
    """Use the state."""
    return f"{a} {[type(message).__module__.split('.')[0] for message in state['messages']]}"


@tool
def with_field(a: int, talk: Annotated[list[Any], InjectedState("messages")]) -> str:
    """Use a field of the state."""
    return f"{a} {len(talk)}"


@tool
def with_store(a: int, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Use the store."""
    return f"{a} {store.get(('x',), 'k').value['n']}"


@tool
def with_argument(a: int, user: Annotated[str, theirs.InjectedToolArg] = "nobody") -> str:
    """Use an argument of the program."""
    return f"{a} {user}"


@tool
def with_runtime(a: int, runtime: ToolRuntime) -> str:
    """Use the runtime."""
    return f"{a} {runtime.tool_call_id} {len(runtime.state['messages'])}"


@tool
def with_config(a: int, config: TheirConfig) -> str:
    """Use the config."""
    return f"{a} {config['configurable']['user']}"


@tool
def with_call_id(a: int, call: Annotated[str, TheirCallId]) -> str:
    """Use the id of the call."""
    return f"{a} {call}"


INJECTED = [
    with_state,
    with_field,
    with_store,
    with_argument,
    with_runtime,
    with_config,
    with_call_id,
]


@pytest.mark.parametrize("one", INJECTED)
def test_an_argument_that_langgraph_injects_is_hidden_from_the_model(one: Any) -> None:
    assert list(one.args) == ["a"]
    lc = as_langchain(one)
    schema = lc.tool_call_schema
    assert list(schema.model_json_schema()["properties"]) == ["a"]


EXPECTED = {
    "with_state": "3 ['langchain_core', 'langchain_core']",
    "with_field": "3 2",
    "with_store": "3 7",
    "with_argument": "3 nobody",
    "with_runtime": "3 1 2",
    "with_config": "3 ann",
    "with_call_id": "3 1",
}


@pytest.mark.parametrize("one", INJECTED)
def test_langgraph_injects_into_a_tool_of_ours(
    one: Any, server: ProviderServer, colour: Any
) -> None:
    store = InMemoryStore()
    store.put(("x",), "k", {"n": 7})
    forged = dict.fromkeys(("state", "talk", "store", "user", "runtime", "call"), "forged")
    server.say(
        Answer(tool_calls=[{"name": one.name, "args": {"a": 3, **forged}, "id": "1"}]), "done"
    )
    agent = create_agent(as_langchain(server.model("openai")), [as_langchain(one)], store=store)
    state = colour.invoke(agent, {"messages": [("user", "go")]}, {"configurable": {"user": "ann"}})
    *_, result, _ = state["messages"]
    assert (result.text, result.status) == (EXPECTED[one.name], "success")
    shown = server.requests[0].fields["tools"][0]["function"]["parameters"]
    assert list(shown["properties"]) == ["a"]


def answer_of(kind: str, call_id: str) -> Any:
    message = ToolMessage("said", tool_call_id=call_id)
    ours = our_messages.ToolMessage("said", tool_call_id=call_id)
    return {
        "theirs": message,
        "ours": ours,
        "command": Command(update={"messages": [message], "note": "kept"}),
        "command with ours": Command(update={"messages": [ours], "note": "kept"}),
        "list": [Command(update={"note": "kept"}), message],
    }[kind]


class Notes(MessagesState):
    note: str


@pytest.mark.parametrize("kind", ["theirs", "ours", "command", "command with ours", "list"])
def test_a_message_or_a_command_that_a_tool_of_ours_returns_is_not_made_a_text(
    kind: str, colour: Any
) -> None:
    @tool
    def answering(call: Annotated[str, TheirCallId]) -> Any:
        """Answer."""
        return answer_of(kind, call)

    call = {"name": "answering", "args": {}, "id": "1", "type": "tool_call"}
    output = colour.invoke(as_langchain(answering), call)
    first = output[-1] if isinstance(output, list) else output
    if isinstance(first, Command):
        assert first.update["note"] == "kept"
        (first,) = first.update["messages"]
    assert type(first) is ToolMessage
    assert first.content == "said"
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(Notes)
    graph.add_node("tools", ToolNode([as_langchain(answering)]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    state = colour.invoke(
        graph.compile(), {"messages": [AIMessage("", tool_calls=[call])], "note": ""}
    )
    assert type(state["messages"][-1]) is ToolMessage
    assert state["note"] == ("" if kind in ("theirs", "ours") else "kept")


class Heard(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.events.append(("start", kwargs["inputs"], kwargs["tags"]))

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.events.append(("end", output))


@tool
async def slow(a: int) -> int:
    """Wait."""
    return a + 1


@tool(response_format="content_and_artifact")
def two(a: int) -> tuple[str, list[int]]:
    """Give two."""
    return str(a), [a]


def run_of(colour: Any, one: Any) -> Any:
    """`run`, or `arun`, of a tool in the colour."""
    return lambda *args, **kwargs: colour.run(
        lambda: one.run(*args, **kwargs), lambda: one.arun(*args, **kwargs)
    )


def test_run_of_a_tool_of_ours_is_langchains_run(colour: Any) -> None:
    heard = Heard()
    run = run_of(colour, as_langchain(two))
    assert run({"a": 1}, callbacks=[heard], tags=["t"]) == "1"
    assert heard.events == [("start", {"a": 1}, ["t"]), ("end", "1")]
    answer = run({"a": 1}, tool_call_id="9")
    assert (answer.content, answer.artifact, answer.tool_call_id) == ("1", [1], "9")
    assert type(answer) is ToolMessage


async def test_arun_of_an_async_tool_of_ours() -> None:
    lc = as_langchain(slow)
    assert await lc.arun({"a": 1}) == 2
    assert await lc.ainvoke({"a": 1}) == 2
    with pytest.raises(NotImplementedError):
        lc.run({"a": 1})


@theirs.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@theirs.tool
async def aadd(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@theirs.tool(response_format="content_and_artifact")
def both(a: int, b: int) -> tuple[str, int]:
    """Add two numbers."""
    return str(a + b), a + b


def loop_of(colour: Any, model: Any, tools: list[Any], config: Any = None) -> list[Any]:
    return colour.run(
        lambda: run_tools(model, "go", tools, config=config),
        lambda: arun_tools(model, "go", tools, config=config),
    )


@pytest.mark.parametrize("one", [add, both, as_langchain(two.model_copy(update={"name": "add"}))])
def test_run_tools_takes_tools_of_langchain(one: Any, server: ProviderServer, colour: Any) -> None:
    server.say(Answer(tool_calls=[{"name": one.name, "args": {"a": 3, "b": 4}, "id": "1"}]), "done")
    heard = Heard()
    messages = loop_of(colour, server.model("openai"), [one], {"callbacks": [heard]})
    result = messages[-2]
    assert type(result) is our_messages.ToolMessage
    assert result.text == ("3" if one.name == "add" and one is not add else "7")
    assert result.artifact == {"add": None, "both": 7}[one.name] or result.artifact == [3]
    assert [event[0] for event in heard.events] == ["start", "end"]
    assert messages[-1].text == "done"


async def test_arun_tools_awaits_an_async_tool_of_langchain(server: ProviderServer) -> None:
    server.say(Answer(tool_calls=[{"name": "aadd", "args": {"a": 3, "b": 4}}]), "done")
    messages = await arun_tools(server.model("openai"), "go", [aadd])
    assert messages[-2].text == "7"


def test_a_tool_of_langchain_that_fails_is_an_answer_to_the_model(
    server: ProviderServer, colour: Any
) -> None:
    @theirs.tool
    def broken() -> str:
        """Fail."""
        raise ValueError("no such row")

    server.say(Answer(tool_calls=[{"name": "broken", "args": {}}]), "done")
    messages = loop_of(colour, server.model("openai"), [broken])
    assert (messages[-2].status, messages[-2].text) == ("error", "ValueError: no such row")


def test_stream_tools_takes_tools_of_langchain(server: ProviderServer, colour: Any) -> None:
    server.say(Answer(tool_calls=[{"name": "add", "args": {"a": 3, "b": 4}}]), "done")
    model = server.model("openai")

    async def collected() -> list[Any]:
        return [event async for event in astream_tools(model, "go", [add])]

    events = colour.run(lambda: list(stream_tools(model, "go", [add])), collected)
    assert [event.text for event in events if isinstance(event, our_messages.ToolMessage)] == ["7"]


def test_what_is_no_tool_of_langchain_is_refused(server: ProviderServer) -> None:
    with pytest.raises(InvalidType, match="not a tool"):
        run_tools(server.model("openai"), "go", [HumanMessage("hi")])
    assert not server.requests
