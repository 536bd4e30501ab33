"""Who listens on either side hears each call once, in the classes of its own side."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import langchain_core.messages as their_messages
import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.prompts import ChatPromptTemplate as TheirPrompt
from langchain_core.runnables import RunnableLambda as TheirLambda
from langchain_core.tools import tool
from langchain_core.tracers.langchain import LangChainTracer
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

import modelwire.messages as our_messages
from modelwire.callbacks import BaseCallbackHandler as OurBaseHandler
from modelwire.jobs import track
from modelwire.langchain import as_langchain
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDS = Answer(tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}}])


class Counter(OurBaseHandler):
    """A handler of ours that counts runs of models, and keeps what it sees of them."""

    def __init__(self) -> None:
        self.starts: list[Any] = []
        self.ends: list[Any] = []
        self.parents: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.starts += messages[0]
        self.parents.append(kwargs.get("parent_run_id"))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.ends.append(response.generations[0][0].message)


def langsmith_runs(monkeypatch: pytest.MonkeyPatch) -> tuple[LangChainTracer, list[Any]]:
    """A tracer of LangSmith's, and the runs that it would send when they are over."""
    runs: list[Any] = []
    monkeypatch.setattr(LangChainTracer, "_persist_run_single", lambda self, run: None)
    monkeypatch.setattr(LangChainTracer, "_update_run_single", lambda self, run: runs.append(run))
    return LangChainTracer(client=object(), project_name="p"), runs  # type: ignore[arg-type]


def test_langsmith_hears_an_agent_with_our_model(
    model: Any, server: ProviderServer, colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.say(ADDS, "It is 3.")
    tracer, runs = langsmith_runs(monkeypatch)
    agent = create_agent(as_langchain(model), [add])
    colour.invoke(agent, {"messages": [("user", "1+2?")]}, {"callbacks": [tracer]})
    models = [run for run in runs if run.run_type == "llm"]
    assert len(models) == 2
    assert all(run.error is None for run in runs)
    about = models[0].extra["metadata"]
    assert about["ls_provider"] == model._get_ls_params()["ls_provider"]
    assert about["ls_model_name"] == model.model
    assert (
        models[1].outputs["generations"][0][0]["message"]["kwargs"]["usage_metadata"][
            "total_tokens"
        ]
        > 0
    )


def test_langsmith_hears_a_chain_of_ours(
    server: ProviderServer, colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer, runs = langsmith_runs(monkeypatch)
    chain = ChatPromptTemplate.from_messages([("user", "{x}")]) | server.model("openai")
    assert colour.invoke(chain, {"x": "hi"}, {"callbacks": [tracer]}).text == "hi"
    assert sorted(run.run_type for run in runs) == ["chain", "llm", "prompt"]
    (run,) = [run for run in runs if run.run_type == "llm"]
    assert run.inputs["messages"][0][0]["kwargs"]["content"] == "hi"
    json.dumps(run.outputs)


def test_langfuse_hears_our_model_inside_a_graph_and_in_a_chain_of_ours(
    model: Any, server: ProviderServer, colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    langfuse = pytest.importorskip("langfuse")
    from langfuse.langchain import CallbackHandler
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client = langfuse.Langfuse(
        public_key=f"pk-{id(exporter)}",
        secret_key="sk",
        base_url="http://127.0.0.1:9",
        tracer_provider=provider,
        span_exporter=exporter,
    )
    handler = CallbackHandler(public_key=f"pk-{id(exporter)}")
    server.say(ADDS, "It is 3.")
    with caplog.at_level(logging.WARNING):
        agent = create_agent(as_langchain(model), [add])
        colour.invoke(agent, {"messages": [("user", "1+2?")]}, {"callbacks": [handler]})
        colour.invoke(
            ChatPromptTemplate.from_messages([("user", "{x}")]) | model,
            {"x": "hi"},
            {"callbacks": [handler]},
        )
    client.flush()
    assert [
        record.getMessage()
        for record in caplog.records
        if "callback" in record.getMessage().lower()
    ] == []
    kinds = [
        dict(span.attributes or {}).get("langfuse.observation.type")
        for span in exporter.get_finished_spans()
    ]
    assert kinds.count("generation") >= 3


def test_a_model_in_a_graph_is_heard_once_by_everybody(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say(ADDS, "It is 3.")
    collector, ours = RunCollectorCallbackHandler(), Counter()
    agent = create_agent(as_langchain(model), [add])
    with track() as spent:
        colour.invoke(
            agent, {"messages": [("user", "1+2?")]}, {"callbacks": [collector, as_langchain(ours)]}
        )
    assert spent.total.calls == 2
    assert len(ours.starts) == 1 + 3
    assert len(ours.ends) == 2
    assert all(isinstance(one, our_messages.BaseMessage) for one in [*ours.starts, *ours.ends])
    (root,) = collector.traced_runs
    assert _models(root) == 2


def _models(run: Any) -> int:
    return (run.run_type in ("llm", "chat_model")) + sum(_models(child) for child in run.child_runs)


def test_a_handler_of_ours_hears_langchains_part_of_our_chain_once(
    server: ProviderServer, colour: Any
) -> None:
    """Whether their part is a step, or is called in a function of ours with the config or without it."""
    lc = as_langchain(server.model("openai"))
    their_chain = TheirPrompt.from_messages([("user", "{x}")]) | lc

    async def nested(value: Any) -> Any:
        return await (RunnableLambda(lambda y: y) | their_chain).ainvoke(value)

    async def plain(value: Any) -> Any:
        return await lc.ainvoke(value["x"])

    chains = {
        "step": RunnableLambda(lambda x: x) | their_chain,
        "nested": RunnableLambda(
            lambda x: (RunnableLambda(lambda y: y) | their_chain).invoke(x), afunc=nested
        ),
        "function": RunnableLambda(lambda x: lc.invoke(x["x"]), afunc=plain),
    }
    for name, chain in chains.items():
        for call in (colour.invoke, colour.stream):
            counter = Counter()
            call(chain, {"x": "hi"}, {"callbacks": [counter]})
            assert (name, len(counter.starts), len(counter.ends)) == (name, 1, 1)
            assert counter.parents[0] is not None
            assert isinstance(counter.ends[0], our_messages.BaseMessage)


def test_a_handler_of_langchains_hears_our_part_of_its_chain_once(
    server: ProviderServer, colour: Any
) -> None:
    model = server.model("openai")
    ours = ChatPromptTemplate.from_messages([("user", "{x}")]) | model
    lc = as_langchain(model)

    async def plain(value: Any) -> Any:
        return await lc.ainvoke(value["x"])

    chains = {
        "step": TheirLambda(lambda x: x) | as_langchain(ours),
        "in a function of ours": TheirLambda(lambda x: x)
        | as_langchain(RunnableLambda(lambda x: lc.invoke(x["x"]), afunc=plain)),
    }
    for name, chain in chains.items():
        collector = RunCollectorCallbackHandler()
        colour.invoke(chain, {"x": "hi"}, {"callbacks": [collector]})
        (root,) = collector.traced_runs
        assert (name, _models(root)) == (name, 1)


def test_sync_and_async_handlers_of_langchains_hear_our_models_tokens(
    server: ProviderServer,
) -> None:
    server.default = "one two three"

    class Sync(BaseCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_llm_new_token(self, token: str, *, chunk: Any = None, **kwargs: Any) -> None:
            self.seen.append(chunk.message)

    class Async(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        async def on_llm_new_token(self, token: str, *, chunk: Any = None, **kwargs: Any) -> None:
            self.seen.append(chunk.message)

    handlers = [Sync(), Async()]

    async def read() -> None:
        async for _ in server.model("openai").astream("hi", {"callbacks": handlers}):
            pass

    asyncio.run(read())
    for handler in handlers:
        assert "".join(message.text for message in handler.seen) == "one two three"
        assert all(type(message) is their_messages.AIMessageChunk for message in handler.seen)


def test_a_handler_that_hears_no_tokens_makes_no_call_a_stream(
    server: ProviderServer, colour: Any
) -> None:
    class Quiet(BaseCallbackHandler):
        def on_llm_end(self, response: Any, **kwargs: Any) -> None:
            """Hear only the end."""

    colour.invoke(server.model("openai"), "hi", {"callbacks": [Quiet()]})
    assert [request.stream for request in server.requests] == [False]


def test_our_spans_count_langchains_calls_once(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from modelwire.otel import ModelwireInstrumentor

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = ModelwireInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        server.say(ADDS, "It is 3.")
        colour.invoke(create_agent(as_langchain(model), [add]), {"messages": [("user", "1+2?")]})
    finally:
        instrumentor.uninstrument()
    assert (
        len([span for span in exporter.get_finished_spans() if span.name.startswith("chat")]) == 2
    )


def test_the_log_has_one_set_of_lines_for_a_call_inside_of_a_graph(
    model: Any, server: ProviderServer, colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def lines(call: Any) -> list[str]:
        caplog.clear()
        server.say(ADDS, "It is 3.")
        with caplog.at_level(logging.DEBUG, logger="modelwire"):
            call()
        return [record.msg for record in caplog.records if record.name == "modelwire"]

    agent = create_agent(as_langchain(model), [add])
    alone = lines(lambda: [colour.invoke(model, "1+2?"), colour.invoke(model, "1+2?")])
    assert len(alone) >= 2
    assert lines(lambda: colour.invoke(agent, {"messages": [("user", "1+2?")]})) == alone
