from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from modelwire.callbacks import (
    AsyncCallbackManager,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
)
from modelwire.callbacks.base import EVENTS
from modelwire.errors import InvalidType
from modelwire.messages import AIMessage, HumanMessage
from modelwire.outputs import ChatGeneration, LLMResult


class Everything(BaseCallbackHandler):
    """Records every event with its arguments."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in EVENTS:
            return lambda *args, **kwargs: self.events.append((name, args, kwargs))
        return super().__getattribute__(name)


def managers(**kwargs: Any) -> tuple[CallbackManager, AsyncCallbackManager]:
    return CallbackManager(**kwargs), AsyncCallbackManager(**kwargs)


def test_both_colours_say_the_same_of_every_event(colour: Any) -> None:
    handler = Everything()
    parent, run_id = uuid4(), uuid4()
    sync, twin = managers(handlers=[handler], parent_run_id=parent, tags=["a"], metadata={"m": 1})
    answer = LLMResult(generations=[[ChatGeneration(message=AIMessage("x"))]])
    error = ValueError("boom")

    def tell() -> None:
        chain = sync.on_chain_start({}, {"i": 1}, run_id, name="n", run_type="chain")
        chain.on_text("t")
        chain.on_retry("state")
        chain.on_limit("change")
        chain.on_agent_action("act")
        chain.on_agent_finish("done")
        chain.on_chain_end("o", inputs=2)
        chain.on_chain_error(error)
        (llm,) = sync.on_llm_start({}, ["p"], run_id, batch_size=1)
        llm.on_llm_new_token("tok", chunk=None)
        llm.on_stream_event("raw")
        llm.on_llm_end(answer)
        llm.on_llm_error(error, response=answer)
        sync.on_chat_model_start({}, [[HumanMessage("h")]], run_id)
        tool = sync.on_tool_start({}, "s", run_id, inputs={"k": 1}, tool_call_id="c")
        tool.on_tool_progress(1, total=2, message="half")
        tool.on_tool_request({"jsonrpc.request.id": "7"})
        tool.on_tool_end("o")
        tool.on_tool_error(error)
        found = sync.on_retriever_start({}, "q", run_id)
        found.on_retriever_end([])
        found.on_retriever_error(error)
        sync.on_custom_event("e", {"d": 1}, run_id)

    async def atell() -> None:
        chain = await twin.on_chain_start({}, {"i": 1}, run_id, name="n", run_type="chain")
        await chain.on_text("t")
        await chain.on_retry("state")
        await chain.on_limit("change")
        await chain.on_agent_action("act")
        await chain.on_agent_finish("done")
        await chain.on_chain_end("o", inputs=2)
        await chain.on_chain_error(error)
        (llm,) = await twin.on_llm_start({}, ["p"], run_id, batch_size=1)
        await llm.on_llm_new_token("tok", chunk=None)
        await llm.on_stream_event("raw")
        await llm.on_llm_end(answer)
        await llm.on_llm_error(error, response=answer)
        await twin.on_chat_model_start({}, [[HumanMessage("h")]], run_id)
        tool = await twin.on_tool_start({}, "s", run_id, inputs={"k": 1}, tool_call_id="c")
        await tool.on_tool_progress(1, total=2, message="half")
        await tool.on_tool_request({"jsonrpc.request.id": "7"})
        await tool.on_tool_end("o")
        await tool.on_tool_error(error)
        found = await twin.on_retriever_start({}, "q", run_id)
        await found.on_retriever_end([])
        await found.on_retriever_error(error)
        await twin.on_custom_event("e", {"d": 1}, run_id)

    colour.run(tell, atell)
    of_run = {"run_id": run_id, "parent_run_id": parent, "tags": ["a"]}
    at_start = {**of_run, "metadata": {"m": 1}}
    assert handler.events == [
        ("on_chain_start", ({}, {"i": 1}), {**at_start, "name": "n", "run_type": "chain"}),
        ("on_text", ("t",), of_run),
        ("on_retry", ("state",), of_run),
        ("on_limit", ("change",), of_run),
        ("on_agent_action", ("act",), of_run),
        ("on_agent_finish", ("done",), of_run),
        ("on_chain_end", ("o",), {**of_run, "inputs": 2}),
        ("on_chain_error", (error,), of_run),
        ("on_llm_start", ({}, ["p"]), {**at_start, "batch_size": 1}),
        ("on_llm_new_token", ("tok",), {**of_run, "chunk": None}),
        ("on_stream_event", ("raw",), of_run),
        ("on_llm_end", (answer,), of_run),
        ("on_llm_error", (error,), {**of_run, "response": answer}),
        ("on_chat_model_start", ({}, [[HumanMessage("h")]]), at_start),
        ("on_tool_start", ({}, "s"), {**at_start, "inputs": {"k": 1}, "tool_call_id": "c"}),
        ("on_tool_progress", (1,), {**of_run, "total": 2, "message": "half"}),
        ("on_tool_request", ({"jsonrpc.request.id": "7"},), of_run),
        ("on_tool_end", ("o",), of_run),
        ("on_tool_error", (error,), of_run),
        ("on_retriever_start", ({}, "q"), at_start),
        ("on_retriever_end", ([],), of_run),
        ("on_retriever_error", (error,), of_run),
        (
            "on_custom_event",
            ("e", {"d": 1}),
            {"run_id": run_id, "tags": ["a"], "metadata": {"m": 1}},
        ),
    ]
    assert {name for name, _, _ in handler.events} == set(EVENTS)


def test_each_prompt_is_a_run_and_the_first_has_the_given_id(colour: Any) -> None:
    handler = Everything()
    run_id = uuid4()
    sync, twin = managers(handlers=[handler])
    first, second = colour.run(
        lambda: sync.on_llm_start({}, ["p", "q"], run_id),
        lambda: twin.on_llm_start({}, ["p", "q"], run_id),
    )
    assert first.run_id == run_id != second.run_id
    assert [(args[1], kwargs["run_id"]) for _, args, kwargs in handler.events] == [
        (["p"], run_id),
        (["q"], second.run_id),
    ]


def test_a_child_inherits_what_is_inheritable_and_gets_its_own_tag(colour: Any) -> None:
    own, inherited = Everything(), Everything()
    sync, twin = managers(
        handlers=[own, inherited],
        inheritable_handlers=[inherited],
        tags=["own", "shared"],
        inheritable_tags=["shared"],
        metadata={"own": 1, "shared": 2},
        inheritable_metadata={"shared": 2},
    )
    run = colour.run(lambda: sync.on_chain_start({}, "x"), lambda: twin.on_chain_start({}, "x"))
    child = run.get_child("seq:step:1")
    assert type(child) is (CallbackManager if colour.name == "sync" else AsyncCallbackManager)
    assert child.is_async is (colour.name == "async")
    assert (child.handlers, child.parent_run_id) == ([inherited], run.run_id)
    assert (child.tags, child.inheritable_tags) == (["shared", "seq:step:1"], ["shared"])
    assert child.metadata == {"shared": 2}
    child.add_handler(own)
    assert run.inheritable_handlers == [inherited]


def test_an_async_run_has_a_sync_manager_for_the_same_run() -> None:
    import asyncio

    handler = Everything()

    async def main() -> None:
        run = await AsyncCallbackManager([handler]).on_chain_start({}, "x")
        run.get_sync().on_chain_end("y")

    asyncio.run(main())
    (_, _, start), (_, _, end) = handler.events
    assert start["run_id"] == end["run_id"]


def test_configure_splits_what_is_inherited_from_what_is_local() -> None:
    passed_on, local = Everything(), Everything()
    manager = CallbackManager.configure(
        [passed_on],
        [local],
        inheritable_tags=["x"],
        local_tags=["y"],
        inheritable_metadata={"p": 1},
        local_metadata={"q": 2},
    )
    assert (manager.handlers, manager.inheritable_handlers) == ([passed_on, local], [passed_on])
    assert (manager.tags, manager.inheritable_tags) == (["x", "y"], ["x"])
    assert (manager.metadata, manager.inheritable_metadata) == ({"p": 1, "q": 2}, {"p": 1})


def test_configure_copies_a_manager_of_either_colour() -> None:
    handler = Everything()
    given = CallbackManager([handler], [handler], uuid4(), tags=["a"])
    made = AsyncCallbackManager.configure(given, inheritable_tags=["b"])
    assert type(made) is AsyncCallbackManager
    assert (made.parent_run_id, made.tags) == (given.parent_run_id, ["a", "b"])
    assert given.tags == ["a"]


def test_a_tag_that_is_inherited_again_moves_behind_the_step_tag() -> None:
    manager = CallbackManager.configure([Everything()], inheritable_tags=["mine"])
    child = manager.on_chain_start({}, "x").get_child("seq:step:1")
    assert CallbackManager.configure(child, inheritable_tags=["mine"]).tags == [
        "seq:step:1",
        "mine",
    ]


@pytest.mark.parametrize("wrong", [Everything(), "handler", {"a": 1}])
def test_callbacks_that_are_no_list_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidType, match="must be a list of handlers"):
        CallbackManager.configure(wrong)


@pytest.mark.parametrize("wrong", [Everything, "handler", None, print])
def test_handlers_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidType, match="instance of `BaseCallbackHandler`"):
        CallbackManager.configure([wrong])


def test_a_handler_in_one_list_only_can_be_removed() -> None:
    first, second = Everything(), Everything()
    manager = BaseCallbackManager([first], [second])
    manager.remove_handler(first)
    manager.remove_handler(second)
    manager.remove_handler(second)
    assert (manager.handlers, manager.inheritable_handlers) == ([], [])


def test_merge_holds_what_either_holds() -> None:
    one, two = Everything(), Everything()
    left = CallbackManager([one], [one], tags=["b", "a"], metadata={"k": 1})
    right = CallbackManager([one, two], tags=["c", "a"], metadata={"k": 2}, inheritable_tags=["z"])
    merged = left.merge(right)
    assert (merged.handlers, merged.inheritable_handlers) == ([one, two], [one])
    assert (merged.tags, merged.inheritable_tags, merged.metadata) == (
        ["b", "a", "c"],
        ["z"],
        {"k": 2},
    )
    assert (left.handlers, left.tags) == ([one], ["b", "a"])


def test_set_handlers_replaces_them_all() -> None:
    old, new = Everything(), Everything()
    manager = CallbackManager([old], [old])
    manager.set_handlers([new], inherit=False)
    assert (manager.handlers, manager.inheritable_handlers) == ([new], [])
    manager.set_handler(old)
    assert (manager.handlers, manager.inheritable_handlers) == ([old], [old])


def test_tags_and_metadata_can_be_removed_whether_there_or_not() -> None:
    manager = CallbackManager([], tags=["a"], metadata={"k": 1})
    manager.remove_tags(["a", "nope"])
    manager.remove_metadata(["k", "nope"])
    assert (manager.tags, manager.metadata) == ([], {})


def test_a_noop_manager_tells_nobody() -> None:
    from modelwire.callbacks import CallbackManagerForLLMRun

    manager = CallbackManagerForLLMRun.get_noop_manager()
    assert manager.on_llm_new_token("x") is None
    assert manager.handlers == []


def test_verbose_prints_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    run = CallbackManager.configure(verbose=True).on_chain_start({}, "x", name="mine")
    run.on_chain_end("y")
    assert capsys.readouterr().out == "> mine starts\n> chain ends\n"
