"""Agents and graphs of LangGraph and LangChain with our models, on each wire."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    LLMToolSelectorMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, create_react_agent, tools_condition
from langgraph.types import Command, interrupt
from pydantic import BaseModel
from support.sensible import sensible

import modelwire.tools as our_tools
from modelwire import init_chat_model as our_init_chat_model
from modelwire.errors import InvalidArgument, ServerError
from modelwire.jobs import track
from modelwire.langchain import as_langchain, install
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@our_tools.tool
def our_add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDS = Answer(tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}}])


@pytest.mark.parametrize("make", [create_react_agent, create_agent])
def test_an_agent_calls_its_tool_and_answers(
    make: Any, model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say(ADDS, "It is 3.")
    with track() as spent:
        state = colour.invoke(
            make(as_langchain(model), [add, multiply]), {"messages": [("user", "1+2?")]}
        )
    kinds = [type(message) for message in state["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert [message.text for message in state["messages"]][2:] == ["3", "It is 3."]
    assert spent.total.calls == 2
    assert server.counts.chat_calls == 2


def test_an_agent_takes_tools_of_ours(model: Any, server: ProviderServer, colour: Any) -> None:
    server.say(Answer(tool_calls=[{"name": "our_add", "args": {"a": 1, "b": 2}}]), "It is 3.")
    agent = create_agent(as_langchain(model), [as_langchain(our_add)])
    state = colour.invoke(agent, {"messages": [("user", "1+2?")]})
    assert [message.text for message in state["messages"]][2:] == ["3", "It is 3."]


def test_a_tool_of_ours_that_fails_is_an_error_message_of_the_agent(
    server: ProviderServer, colour: Any
) -> None:
    @our_tools.tool
    def fail(a: int) -> int:
        """Fail."""
        raise our_tools.ToolException("no luck")

    fail.handle_tool_error = True
    server.say(Answer(tool_calls=[{"name": "fail", "args": {"a": 1}}]), "Sorry.")
    agent = create_agent(as_langchain(server.model("openai")), [as_langchain(fail)])
    state = colour.invoke(agent, {"messages": [("user", "go")]})
    assert (state["messages"][2].status, state["messages"][2].text) == ("error", "no luck")


def test_state_is_injected_into_a_tool_and_hidden_from_the_model(
    server: ProviderServer, colour: Any
) -> None:
    @tool
    def count(word: str, state: Annotated[dict[str, Any], InjectedState]) -> int:
        """Count the messages."""
        return len(state["messages"])

    server.say(Answer(tool_calls=[{"name": "count", "args": {"word": "a"}}]), "Two.")
    agent = create_react_agent(as_langchain(server.model("openai")), [count])
    state = colour.invoke(agent, {"messages": [("user", "go")]})
    assert state["messages"][2].text == "2"
    assert list(server.requests[0].fields["tools"][0]["function"]["parameters"]["properties"]) == [
        "word"
    ]


@pytest.mark.parametrize("strategy", [ProviderStrategy, ToolStrategy, None])
def test_an_agent_answers_in_a_form(
    strategy: Any, model: Any, server: ProviderServer, colour: Any, request: pytest.FixtureRequest
) -> None:
    form = Weather if strategy is None else strategy(Weather)
    if (
        strategy is None
    ):  # LangChain asks the profile, and of a model that no table names nothing is known
        model = server.model(
            request.node.callspec.params["model"], profile={"structured_output": True}
        )
    by_tool = Answer(tool_calls=[{"name": "Weather", "args": {"city": "Rome", "degrees": 20}}])
    left_to_langchain = (
        strategy is None and "gemini" in model.model
    )  # it asks no Gemini before 3 for a form beside tools
    server.say(
        by_tool
        if strategy is ToolStrategy or left_to_langchain
        else json.dumps({"city": "Rome", "degrees": 20})
    )
    state = colour.invoke(
        create_agent(as_langchain(model), [add], response_format=form),
        {"messages": [("user", "weather?")]},
    )
    assert state["structured_response"] == Weather(city="Rome", degrees=20)


def test_middleware_falls_back_to_another_model(server: ProviderServer, colour: Any) -> None:
    server.say(ServerError("down", status=500), "from the second")
    first, second = server.model("openai", max_retries=0), server.model("anthropic")
    agent = create_agent(
        as_langchain(first), [], middleware=[ModelFallbackMiddleware(as_langchain(second))]
    )
    state = colour.invoke(agent, {"messages": [("user", "hi")]})
    assert state["messages"][-1].text == "from the second"
    assert [request.wire for request in server.requests] == ["openai", "anthropic"]


def test_middleware_retries_what_is_retryable(server: ProviderServer, colour: Any) -> None:
    server.say(ServerError("down", status=500), "at last")
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    agent = create_agent(
        as_langchain(server.model("openai", max_retries=0)), [], middleware=[retry]
    )
    assert colour.invoke(agent, {"messages": [("user", "hi")]})["messages"][-1].text == "at last"


def test_middleware_summarises(model: Any, server: ProviderServer, colour: Any) -> None:
    server.say("a summary", "an answer")
    lc = as_langchain(model)
    middleware = SummarizationMiddleware(lc, trigger=("messages", 4), keep=("messages", 1))
    agent = create_agent(lc, [], middleware=[middleware])
    talk = [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
        ("assistant", "four"),
        ("user", "five"),
    ]
    state = colour.invoke(agent, {"messages": talk})
    assert "a summary" in state["messages"][0].text
    assert state["messages"][-1].text == "an answer"
    assert server.counts.chat_calls == 2


def test_middleware_selects_tools(server: ProviderServer, colour: Any) -> None:
    server.say(json.dumps({"tools": ["multiply"]}), "done")
    lc = as_langchain(server.model("openai"))
    agent = create_agent(
        lc, [add, multiply], middleware=[LLMToolSelectorMiddleware(model=lc, max_tools=1)]
    )
    colour.invoke(agent, {"messages": [("user", "2*3?")]})
    assert [one["function"]["name"] for one in server.requests[-1].fields["tools"]] == ["multiply"]


def test_middleware_selects_tools_again_after_a_wrong_form(
    server: ProviderServer, colour: Any
) -> None:
    server.say("{}", json.dumps({"tools": ["multiply"]}), "done")
    lc = as_langchain(server.model("openai"))
    selector = LLMToolSelectorMiddleware(model=lc, max_retries=1)
    agent = create_agent(lc, [add, multiply], middleware=[selector])
    colour.invoke(agent, {"messages": [("user", "2*3?")]})
    assert [one["function"]["name"] for one in server.requests[-1].fields["tools"]] == ["multiply"]


def graph_of(lc: Any, **options: Any) -> Any:
    async def acall(state: MessagesState) -> Any:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    def call(state: MessagesState) -> Any:
        return {"messages": [bound.invoke(state["messages"])]}

    from langchain_core.runnables import RunnableLambda

    bound = lc.bind_tools([add])
    graph = StateGraph(MessagesState)
    graph.add_node("model", RunnableLambda(call, acall))
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(**options)


@pytest.mark.parametrize("mode", ["values", "updates", "messages"])
def test_a_graph_streams(mode: str, model: Any, server: ProviderServer, colour: Any) -> None:
    server.say(ADDS, "It is three.")
    seen = colour.stream(
        graph_of(as_langchain(model)), {"messages": [("user", "1+2?")]}, stream_mode=mode
    )
    if mode == "messages":
        chunks = [chunk for chunk, about in seen if isinstance(chunk, AIMessageChunk)]
        text = [chunk.text for chunk in chunks if chunk.text]
        assert "".join(text) == "It is three."
        assert len(text) == 3  # each token, once
        assert {about["langgraph_node"] for _, about in seen} == {"model", "tools"}
    elif mode == "values":
        assert [len(state["messages"]) for state in seen] == [1, 2, 3, 4]
    else:
        assert [next(iter(update)) for update in seen] == ["model", "tools", "model"]


def test_a_node_of_ours_streams_its_tokens_out_of_a_graph(
    server: ProviderServer, colour: Any
) -> None:
    server.default = "one two three"
    chain = ChatPromptTemplate.from_messages([("placeholder", "{messages}")]) | server.model(
        "openai"
    )
    node = as_langchain(chain | (lambda answer: {"messages": [answer]}))
    graph = StateGraph(MessagesState)
    graph.add_node("ours", node)
    graph.add_edge(START, "ours")
    graph.add_edge("ours", END)
    seen = colour.stream(graph.compile(), {"messages": [("user", "hi")]}, stream_mode="messages")
    assert (
        "".join(chunk.text for chunk, _ in seen if isinstance(chunk, AIMessageChunk))
        == "one two three"
    )
    assert (
        colour.invoke(graph.compile(), {"messages": [("user", "hi")]})["messages"][-1].text
        == "one two three"
    )


def test_custom_stream_events_pass(server: ProviderServer, colour: Any) -> None:
    @tool
    def report(a: int) -> str:
        """Report."""
        get_stream_writer()({"seen": a})
        return "ok"

    server.say(Answer(tool_calls=[{"name": "report", "args": {"a": 5}}]), "done")
    agent = create_agent(as_langchain(server.model("openai")), [report])
    assert colour.stream(agent, {"messages": [("user", "go")]}, stream_mode="custom") == [
        {"seen": 5}
    ]


def test_a_conversation_is_kept_in_memory_and_in_sqlite(
    model: Any, server: ProviderServer, tmp_path: Any
) -> None:
    server.default = "hello"
    config = {"configurable": {"thread_id": "1"}}
    lc = as_langchain(model)

    def talk(saver: Any) -> list[Any]:
        graph = graph_of(lc, checkpointer=saver)
        graph.invoke({"messages": [("user", "one")]}, config)
        return graph.invoke({"messages": [("user", "two")]}, config)["messages"]

    async def atalk() -> list[Any]:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "async.db")) as saver:
            graph = graph_of(lc, checkpointer=saver)
            await graph.ainvoke({"messages": [("user", "one")]}, config)
            return (await graph.ainvoke({"messages": [("user", "two")]}, config))["messages"]

    with SqliteSaver.from_conn_string(str(tmp_path / "sync.db")) as saver:
        talks = [talk(InMemorySaver()), talk(saver), asyncio.run(atalk())]
    for messages in talks:
        assert [message.text for message in messages] == ["one", "hello", "two", "hello"]
        assert all(type(message) is AIMessage for message in messages[1::2])
        assert messages[1].usage_metadata["total_tokens"] > 0


def test_a_graph_is_interrupted_and_resumed(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    @tool
    def ask(question: str) -> str:
        """Ask the user."""
        return str(interrupt({"question": question}))

    server.say(Answer(tool_calls=[{"name": "ask", "args": {"question": "sure?"}}]), "As you say.")
    agent = create_agent(as_langchain(model), [ask], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    waiting = colour.invoke(agent, {"messages": [("user", "go")]}, config)
    assert waiting["__interrupt__"][0].value == {"question": "sure?"}
    done = colour.invoke(agent, Command(resume="yes"), config)
    assert [message.text for message in done["messages"]][2:] == ["yes", "As you say."]


def test_events_of_an_agent_have_each_token_once(server: ProviderServer) -> None:
    server.say(ADDS, "It is three.")
    agent = create_agent(as_langchain(server.model("openai")), [add])

    async def heard() -> list[Any]:
        return [
            event
            async for event in agent.astream_events({"messages": [("user", "1+2?")]}, version="v2")
        ]

    events = asyncio.run(heard())
    kinds = [event["event"] for event in events]
    assert kinds.count("on_chat_model_start") == kinds.count("on_chat_model_end") == 2
    tokens = [
        event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"
    ]
    assert "".join(tokens) == "It is three."


def test_an_agent_calls_its_tool_under_the_events_of_version_3(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say(Answer("Let me see.", tool_calls=ADDS.tool_calls, reasoning="Two."), "It is 3.")
    agent = create_agent(as_langchain(model), [add])
    talk = {"messages": [("user", "1+2?")]}

    def heard() -> Any:
        run = agent.stream_events(talk, version="v3")
        return [str(message.text) for message in run.messages], run.output

    async def aheard() -> Any:
        run = await agent.astream_events(talk, version="v3")
        return [await message.text async for message in run.messages], await run.output()

    texts, state = colour.run(heard, aheard)
    assert texts == ["Let me see.", "It is 3."]
    assert [message.text for message in state["messages"]][1:] == ["Let me see.", "3", "It is 3."]
    (call,) = state["messages"][1].tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 1, "b": 2})
    assert call["id"]
    assert len({message.id for message in state["messages"]}) == 4
    assert server.counts.by_status == {200: 2}


def test_their_init_chat_model_makes_ours_after_install(
    server: ProviderServer, colour: Any
) -> None:
    install()
    options = {"base_url": server.base_url + "/v1", "api_key": "k"}
    made = init_chat_model("modelwire:openai:gpt-x", **options)
    assert colour.invoke(made, "hi").text == "hi"
    configurable = init_chat_model(configurable_fields=("model", "model_provider"), **options)
    config = {"configurable": {"model": "openai:gpt-y", "model_provider": "modelwire"}}
    assert colour.invoke(configurable, "ho", config).text == "ho"
    assert server.requests[-1].model == "gpt-y"


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic"])
def test_a_long_talk_on_a_provider_that_answers_sensibly(
    wire: Any, server: ProviderServer, colour: Any
) -> None:
    server.default = sensible
    agent = create_agent(
        as_langchain(server.model(wire)), [add, multiply], checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}
    for turn in range(1, 4):
        state = colour.invoke(agent, {"messages": [("user", f"turn {turn}")]}, config)
        assert len(state["messages"]) == 4 * turn
    assert state["messages"][2].text == "6"


@pytest.mark.parametrize("make", [create_react_agent, create_agent])
def test_a_model_that_the_config_names_is_an_agents_model(
    make: Any, server: ProviderServer, colour: Any
) -> None:
    options = {"base_url": server.base_url + "/v1", "api_key": "k"}
    config = {"configurable": {"thread_id": "1", "model": "openai:gpt-y", "llm_temperature": 0.5}}
    by_name = our_init_chat_model(configurable_fields=("model",), **options)
    any_field = our_init_chat_model(
        "openai:gpt-x", configurable_fields="any", config_prefix="llm", **options
    )
    for model, name in ((by_name, "gpt-y"), (any_field, "gpt-x")):
        server.say(ADDS, "It is three.")
        agent = make(as_langchain(model), [add, multiply], checkpointer=InMemorySaver())
        seen = colour.stream(
            agent, {"messages": [("user", "1+2?")]}, config, stream_mode="messages"
        )
        text = [chunk.text for chunk, _ in seen if isinstance(chunk, AIMessageChunk) and chunk.text]
        assert text == ["It", " is", " three."]
        assert server.requests[-1].model == name
        assert len(server.requests[-1].fields["tools"]) == 2
    assert server.requests[-1].fields["temperature"] == 0.5


def test_a_model_that_the_config_names_answers_in_a_form(
    server: ProviderServer, colour: Any
) -> None:
    options = {"base_url": server.base_url + "/v1", "api_key": "k"}
    server.default = json.dumps({"city": "Rome", "degrees": 20})
    lc = as_langchain(our_init_chat_model(configurable_fields=("model",), **options))
    config = {"configurable": {"model": "openai:gpt-y"}}
    assert colour.invoke(lc.with_structured_output(Weather), "?", config) == Weather(
        city="Rome", degrees=20
    )
    with pytest.raises(InvalidArgument, match="Two tools are called `add`"):
        lc.bind_tools([add, {"title": "add", "type": "object", "properties": {}}])
    assert not hasattr(
        as_langchain(ChatPromptTemplate.from_messages([("user", "{x}")])), "bind_tools"
    )


def test_a_model_of_ours_with_fallbacks_is_an_agents_model(
    server: ProviderServer, colour: Any
) -> None:
    server.say(ServerError("down", status=500), ADDS, "It is 3.")
    model = server.model("openai", max_retries=0).with_fallbacks([server.model("anthropic")])
    state = colour.invoke(
        create_agent(as_langchain(model), [add]), {"messages": [("user", "1+2?")]}
    )
    assert [message.text for message in state["messages"]][2:] == ["3", "It is 3."]
    assert [request.wire for request in server.requests] == ["openai", "anthropic", "openai"]
    assert all(request.fields["tools"] for request in server.requests)
