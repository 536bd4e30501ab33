"""Runs as trees: what tracers keep of them, in both colours."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import GenericFakeChatModel
from modelwire.tracers import (
    AsyncBaseTracer,
    BaseTracer,
    Run,
    RunCollectorCallbackHandler,
    collect_runs,
)


class Kept(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []
        self.hooks: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)

    def _on_run_create(self, run: Run) -> None:
        self.hooks.append(f"create {run.name}")

    def _on_chain_error(self, run: Run) -> None:
        self.hooks.append(f"error {run.name}")

    def _on_llm_new_token(self, run: Run, token: str, chunk: Any) -> None:
        self.hooks.append(f"token {token}")


class AsyncKept(AsyncBaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.roots, self.hooks = self.kept.roots, self.kept.hooks

    async def _persist_run(self, run: Run) -> None:
        self.kept._persist_run(run)

    async def _on_run_create(self, run: Run) -> None:
        self.kept._on_run_create(run)

    async def _on_chain_error(self, run: Run) -> None:
        self.kept._on_chain_error(run)

    async def _on_llm_new_token(self, run: Run, token: str, chunk: Any) -> None:
        self.kept._on_llm_new_token(run, token, chunk)


@pytest.fixture(params=[Kept, AsyncKept])
def tracer(request: pytest.FixtureRequest) -> Any:
    return request.param()


def chain() -> Any:
    model = GenericFakeChatModel(messages=iter(["one two"]))
    return ChatPromptTemplate.from_messages([("human", "{q}")]) | model | StrOutputParser()


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_chain_is_one_tree(colour: Any, tracer: Any, way: str) -> None:
    config = {"callbacks": [tracer], "tags": ["t"], "metadata": {"m": 1}}
    getattr(colour, way)(chain(), {"q": "hi"}, config)
    (root,) = tracer.roots
    assert (root.name, root.run_type, root.error) == ("RunnableSequence", "chain", None)
    assert root.outputs == {"output": "one two"}
    assert [run.run_type for run in root.child_runs] == ["prompt", "llm", "parser"]
    prompt, model, parser = root.child_runs
    assert prompt.inputs == {"q": "hi"}
    assert model.inputs == {"prompts": ["Human: hi"]}
    assert model.outputs["generations"][0][0]["text"] == "one two"
    assert parser.parent_run is root
    assert parser.trace_id == root.id == parser.parent_run_id
    assert all(run.latency is not None and run.latency >= 0 for run in (root, *root.child_runs))
    assert "t" in model.tags
    assert model.metadata["m"] == 1
    assert [hook for hook in tracer.hooks if hook.startswith("token")] == [
        "token one",
        "token  ",
        "token two",
    ]
    assert tracer.run_map == {}


@pytest.mark.parametrize("base", [BaseTracer, AsyncBaseTracer])
@pytest.mark.parametrize("schema_format", [None, "original", "original+chat"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_chat_model_starts_as_its_tracer_wants(
    colour: Any, base: Any, schema_format: str | None, way: str
) -> None:
    started: list[tuple[str, str, list[str]]] = []

    def llm(self: Any, run: Run) -> Any:
        started.append(("llm", run.run_type, run.inputs["prompts"]))
        return nothing() if base is AsyncBaseTracer else None

    def chat_model(self: Any, run: Run) -> Any:
        texts = [message.content for message in run.inputs["messages"][0]]
        started.append(("chat_model", run.run_type, texts))
        return nothing() if base is AsyncBaseTracer else None

    def persist(self: Any, run: Run) -> Any:
        started.append(("over", run.run_type, [run.outputs["generations"][0][0]["text"]]))
        return nothing() if base is AsyncBaseTracer else None

    async def nothing() -> None: ...

    members = {"_on_llm_start": llm, "_on_chat_model_start": chat_model, "_persist_run": persist}
    tracer = type("Counting", (base,), members)(
        **({} if schema_format is None else {"_schema_format": schema_format})
    )
    model = GenericFakeChatModel(messages=iter(["one two"]))
    getattr(colour, way)(model, "hi", {"callbacks": [tracer]})
    kind, inputs = ("llm", ["Human: hi"])
    if schema_format == "original+chat":
        kind, inputs = ("chat_model", ["hi"])
    assert started == [(kind, kind, inputs), ("over", kind, ["one two"])]


def test_listeners_of_a_model_get_its_messages(colour: Any) -> None:
    seen: list[Any] = []
    model = GenericFakeChatModel(messages=iter(["one"])).with_listeners(on_start=seen.append)
    colour.invoke(model, "hi")
    assert [run.run_type for run in seen] == ["chat_model"]


def test_a_failure_is_on_every_run_around_it(colour: Any, tracer: Any) -> None:
    def fail(value: int) -> int:
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        colour.invoke(
            RunnableLambda(lambda x: x) | RunnableLambda(fail), 1, {"callbacks": [tracer]}
        )
    (root,) = tracer.roots
    assert root.error.startswith("ValueError('boom')")
    assert "Traceback" in root.child_runs[1].error
    assert root.child_runs[0].error is None
    assert tracer.hooks[-2:] == ["error fail", "error RunnableSequence"]


def test_a_tracer_that_hears_no_tokens_does_not_make_a_model_stream(colour: Any) -> None:
    class Whole(GenericFakeChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError

    collector = RunCollectorCallbackHandler()
    assert (
        colour.invoke(Whole(messages=iter(["one"])), "hi", {"callbacks": [collector]}).content
        == "one"
    )
    assert collector.traced_runs[0].run_type == "llm"


def test_a_tracer_in_a_copied_config_is_the_same_tracer() -> None:
    tracer = Kept()
    assert copy.deepcopy({"callbacks": [tracer]})["callbacks"][0] is tracer


def test_runs_are_collected_inside_the_block_only(colour: Any) -> None:
    double = RunnableLambda(lambda x: x * 2)
    with collect_runs() as outer:
        colour.invoke(double, 1)
        with collect_runs() as inner:
            colour.invoke(double, 2)
    colour.invoke(double, 3)
    assert [run.outputs for run in outer.traced_runs] == [{"output": 2}, {"output": 4}]
    assert [run.inputs for run in inner.traced_runs] == [{"input": 2}]


def test_a_collector_keeps_each_outermost_run_of_a_batch() -> None:
    collector = RunCollectorCallbackHandler()
    asyncio.run((RunnableLambda(str) | len).abatch([1, 22, 333], {"callbacks": [collector]}))
    assert sorted(run.outputs["output"] for run in collector.traced_runs if run.outputs) == [
        1,
        2,
        3,
    ]
