"""What LangChain takes of ours after `install()`, each object as it is: the table of mixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import langchain_core.messages as theirs
import langchain_core.runnables as their_runnables
import langchain_core.tools as their_tools
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain.chat_models import init_chat_model
from langchain_core.output_parsers import StrOutputParser as TheirParser
from langchain_core.prompts import ChatPromptTemplate as TheirPrompt
from langchain_core.prompts import MessagesPlaceholder as TheirPlaceholder
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI as TheirChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, create_react_agent

import modelwire.messages as ours
from modelwire.langchain import as_langchain, install, uninstall
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough, chain
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer
from modelwire.tools import tool


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()


@tool
def double(a: int) -> int:
    """Double a number."""
    return 2 * a


@tool
def counted(a: int, state: Annotated[dict[str, Any], InjectedState]) -> str:
    """Count the messages."""
    return str(a + len(state["messages"]))


@chain
def shout(text: Any) -> str:
    return f"{getattr(text, 'text', text)}!"


class Desk:
    """Both sides' models and prompts, of a server that says again what the user said."""

    def __init__(self, server: ProviderServer) -> None:
        self.server = server
        self.ours = server.model("openai", max_retries=0)
        self.theirs = TheirChatOpenAI(
            model="gpt-x", api_key="k", base_url=f"{server.base_url}/v1", max_retries=0
        )
        self.our_prompt = ChatPromptTemplate.from_messages([("user", "say {x}")])
        self.their_prompt = TheirPrompt.from_messages([("user", "say {x}")])
        self.our_chain = self.our_prompt | self.ours
        self.our_lambda = RunnableLambda(shout.invoke)
        self.their_lambda = their_runnables.RunnableLambda(lambda value: value)
        self.human = ours.HumanMessage("hi")


def text_of(value: Any) -> Any:
    return getattr(value, "text", value)


def calls(desk: Desk, name: str = "double") -> None:
    """Have the server call a tool, then answer."""
    desk.server.say(Answer(tool_calls=[{"name": name, "args": {"a": 4}, "id": "1"}]), "done")


def agent(desk: Desk, make: Callable[..., Any], model: Any, one: Any) -> Any:
    calls(desk, one.name)
    state = make(model, [one]).invoke({"messages": [("user", "go")]})
    assert all(isinstance(message, theirs.BaseMessage) for message in state["messages"])
    return [message.text for message in state["messages"]][2:]


def called(desk: Desk, model: Any) -> Any:
    calls(desk)
    (call,) = model.bind_tools([double]).invoke("hi").tool_calls
    return call["args"]


def node(desk: Desk, action: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("n", action)
    graph.add_edge(START, "n")
    graph.add_edge("n", END)
    state = graph.compile().invoke({"messages": [desk.human]})
    assert all(isinstance(message, theirs.BaseMessage) for message in state["messages"])
    return state["messages"][-1].text


def tool_node(one: Any) -> Any:
    call = {"name": one.name, "args": {"a": 4}, "id": "1", "type": "tool_call"}
    return node_of([one], theirs.AIMessage("", tool_calls=[call]))


def node_of(tools: list[Any], said: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    return graph.compile().invoke({"messages": [said]})["messages"][-1].text


def alternative(desk: Desk, other: Any) -> Any:
    field = their_runnables.ConfigurableField(id="which")
    either = desk.theirs.configurable_alternatives(field, other=other)
    return either.invoke("hi", {"configurable": {"which": "other"}})


def fallback(desk: Desk, first: Any, second: Any) -> Any:
    from modelwire.errors import ServerError

    desk.server.say(ServerError("down", status=500), "hi")
    return first.with_fallbacks([second]).invoke("hi")


def second_model(desk: Desk, model: Any) -> Any:
    from modelwire.errors import ServerError

    desk.server.say(ServerError("down", status=500), "hi")
    made = create_agent(desk.theirs, [], middleware=[ModelFallbackMiddleware(model)])
    return made.invoke({"messages": [("user", "hi")]})["messages"][-1]


X = {"x": "a"}
their_text = TheirParser()
# What of ours is where -> how, and what comes of it; an error's class is a refusal of LangChain's.
MIXES: dict[str, tuple[Callable[[Desk], Any], Any]] = {
    # On the right of `|`, and where a runnable is read
    "their prompt | model": (lambda d: (d.their_prompt | d.ours).invoke(X), "say a"),
    "their prompt | model | their parser": (
        lambda d: (d.their_prompt | d.ours | their_text).invoke(X),
        "say a",
    ),
    "their prompt | chain": (
        lambda d: (d.their_lambda | d.our_chain).invoke(X),
        "say a",
    ),
    "their lambda | model": (lambda d: (d.their_lambda | d.ours).invoke("hi"), "hi"),
    "their lambda | prompt | their model": (
        lambda d: (d.their_lambda | d.our_prompt | d.theirs).invoke(X),
        "say a",
    ),
    "their lambda | tool": (lambda d: (d.their_lambda | double).invoke({"a": 4}), 8),
    "their model | parser": (lambda d: (d.theirs | StrOutputParser()).invoke("hi"), "hi"),
    "their model | lambda": (lambda d: (d.theirs | d.our_lambda).invoke("hi"), "hi!"),
    "their model | @chain": (lambda d: (d.theirs | shout).invoke("hi"), "hi!"),
    "their model | parallel": (
        lambda d: (d.theirs | RunnableParallel(a=shout)).invoke("hi"),
        {"a": "hi!"},
    ),
    "their model | passthrough": (lambda d: (d.theirs | RunnablePassthrough()).invoke("hi"), "hi"),
    "their lambda.pipe(model)": (lambda d: d.their_lambda.pipe(d.ours).invoke("hi"), "hi"),
    "dict of a model | their lambda": (
        lambda d: ({"a": d.ours} | d.their_lambda).invoke("hi")["a"],
        "hi",
    ),
    "their parallel of a chain": (
        lambda d: their_runnables.RunnableParallel(a=d.our_chain).invoke(X)["a"],
        "say a",
    ),
    "their assign of a lambda": (
        lambda d: their_runnables.RunnablePassthrough.assign(
            b=RunnableLambda(lambda v: v["x"] + "!")
        ).invoke(X),
        {"x": "a", "b": "a!"},
    ),
    "their branch to a chain": (
        lambda d: their_runnables.RunnableBranch(
            (lambda v: v["x"] == "a", d.our_chain), d.their_prompt
        ).invoke(X),
        "say a",
    ),
    "their branch, the model as default": (
        lambda d: their_runnables.RunnableBranch((lambda v: False, shout), d.ours).invoke("hi"),
        "hi",
    ),
    "fallback of their model": (lambda d: fallback(d, d.theirs, d.ours), "hi"),
    "fallback of their chain": (
        lambda d: fallback(d, d.their_lambda | d.theirs, d.their_lambda | d.ours),
        "hi",
    ),
    "alternative of their model": (lambda d: alternative(d, d.ours), "hi"),
    "chain as their alternative": (lambda d: alternative(d, d.our_lambda), "hi!"),
    # Tools
    "tool in create_agent": (
        lambda d: agent(d, create_agent, as_langchain(d.ours), double),
        ["8", "done"],
    ),
    "tool in create_agent of their model": (
        lambda d: agent(d, create_agent, d.theirs, double),
        ["8", "done"],
    ),
    "tool in create_react_agent": (
        lambda d: agent(d, create_react_agent, as_langchain(d.ours), double),
        ["8", "done"],
    ),
    "tool in create_react_agent of their model": (
        lambda d: agent(d, create_react_agent, d.theirs, double),
        ["8", "done"],
    ),
    "tool with state in create_agent": (
        lambda d: agent(d, create_agent, as_langchain(d.ours), counted),
        ["6", "done"],
    ),
    "tool in ToolNode": (lambda d: tool_node(double), "8"),
    "tool with state in ToolNode": (lambda d: tool_node(counted), "5"),
    "tool beside theirs in ToolNode": (
        lambda d: node_of(
            [double, their_tools.tool(shout_there)],
            theirs.AIMessage(
                "", tool_calls=[{"name": "shout_there", "args": {"text": "x"}, "id": "1"}]
            ),
        ),
        "x!",
    ),
    "tool bound to their model": (lambda d: called(d, d.theirs), {"a": 4}),
    "tool bound to our model in theirs": (lambda d: called(d, as_langchain(d.ours)), {"a": 4}),
    "convert_to_openai_tool(tool)": (
        lambda d: convert_to_openai_tool(double)["function"]["name"],
        "double",
    ),
    "their tool(tool)": (lambda d: their_tools.tool(double).invoke({"a": 4}), 8),
    # Models, where a class is asked for
    "model in create_agent": (lambda d: agent(d, create_agent, d.ours, double), ["8", "done"]),
    "model in create_react_agent": (
        lambda d: agent(d, create_react_agent, d.ours, double),
        ["8", "done"],
    ),
    "model in ModelFallbackMiddleware": (lambda d: second_model(d, d.ours), "hi"),
    "model of their init_chat_model": (
        lambda d: init_chat_model(
            "modelwire:openai:m", base_url=f"{d.server.base_url}/v1", api_key="k"
        ).invoke("hi"),
        "hi",
    ),
    "model as a graph's node": (
        lambda d: node(d, lambda state: {"messages": [d.ours.invoke(state["messages"])]}),
        "hi",
    ),
    # Messages
    "message to their model": (lambda d: d.theirs.invoke([d.human]), "hi"),
    "message in their prompt": (
        lambda d: (TheirPrompt.from_messages([d.human]) | d.theirs).invoke({}),
        "hi",
    ),
    "message for their placeholder": (
        lambda d: (TheirPrompt.from_messages([TheirPlaceholder("talk")]) | d.theirs).invoke(
            {"talk": [d.human]}
        ),
        "hi",
    ),
    "message in a graph's state": (lambda d: node(d, d.their_lambda), "hi"),
}


def shout_there(text: str) -> str:
    """Shout."""
    return f"{text}!"


@pytest.mark.parametrize("name", MIXES)
def test_a_mix(name: str, server: ProviderServer) -> None:
    mix, expected = MIXES[name]
    desk = Desk(server)
    if isinstance(expected, type):
        with pytest.raises(expected):
            mix(desk)
    else:
        assert text_of(mix(desk)) == expected


def test_of_42_mixes_at_least_40_work() -> None:
    assert len(MIXES) == 42
    assert sum(not isinstance(expected, type) for _, expected in MIXES.values()) >= 40


def test_what_is_not_ours_passes_unchanged() -> None:
    made = their_tools.tool(shout_there)
    assert type(made) is their_tools.StructuredTool
    assert convert_to_openai_tool(made)["function"]["name"] == "shout_there"
    assert their_tools.tool("named")(shout_there).name == "named"
    with pytest.raises(ValueError, match="must be a string or a callable"):
        their_tools.tool(3)  # type: ignore[call-overload]


def test_uninstall_undoes_it_and_install_may_be_called_again(server: ProviderServer) -> None:
    import langchain_core.runnables.base as base
    import langgraph.prebuilt.tool_node as tool_node_module

    model = Desk(server).ours
    prompt = TheirPrompt.from_messages([("user", "{x}")])
    for _ in range(2):
        uninstall()
        uninstall()
        assert not hasattr(base.coerce_to_runnable, "taught_by_modelwire")
        assert not hasattr(tool_node_module.create_tool, "taught_by_modelwire")
        assert not hasattr(their_runnables.Runnable.with_fallbacks, "taught_by_modelwire")
        with pytest.raises(TypeError):
            prompt | model
        with pytest.raises(ValueError, match="must be a string or a callable"):
            ToolNode([double])
        with pytest.raises(ValueError, match="modelwire"):
            init_chat_model("modelwire:openai:m")
        install()
        install()
        assert (prompt | model).invoke({"x": "hi"}).text == "hi"
        assert ToolNode([double]).tools_by_name["double"].name == "double"
