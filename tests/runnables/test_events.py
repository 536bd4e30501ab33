"""What `astream_events` tells, in which order, and what a reader may do to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest

from modelwire.callbacks import BaseCallbackHandler, adispatch_custom_event, dispatch_custom_event
from modelwire.documents import Document
from modelwire.errors import CallerError
from modelwire.messages import AIMessage, HumanMessage
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.retrievers import retriever
from modelwire.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from modelwire.testing import GenericFakeChatModel
from modelwire.tools import tool

PROMPT = ChatPromptTemplate.from_messages([("human", "{q}")])


def model(*answers: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(answers or ("one two",)))


def step(function: Any, name: str) -> Any:
    return RunnableLambda(function).with_config(run_name=name)


def events(
    runnable: Any, value: Any, config: Any = None, version: str = "v2", **choice: Any
) -> list[Any]:
    async def read() -> list[Any]:
        return [
            event
            async for event in runnable.astream_events(value, config, version=version, **choice)
        ]

    return asyncio.run(read())


def told(found: list[Any]) -> list[str]:
    """Say each event as `start s1`, the name of a chunk with the chunk."""
    lines = []
    for event in found:
        what = event["event"].rsplit("_", 1)[1]
        chunk = event["data"]["chunk"] if what == "stream" else ""
        lines.append(f"{what} {event['name']} {getattr(chunk, 'content', chunk)}".rstrip())
    return lines


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_step_starts_with_its_first_chunk_and_the_one_before_ends_after_that(
    version: str,
) -> None:
    chain = step(lambda x: x + 1, "s1") | step(lambda x: x * 2, "s2")
    assert told(events(chain, 1, version=version)) == [
        "start RunnableSequence",
        "start s1",
        "stream s1 2",
        "start s2",
        "end s1",
        "stream s2 4",
        "stream RunnableSequence 4",
        "end s2",
        "end RunnableSequence",
    ]


def test_tokens_pass_through_a_chain_one_by_one() -> None:
    found = events(PROMPT | model() | StrOutputParser(), {"q": "hi"})
    kinds = [event["event"] for event in found]
    assert kinds[:4] == [
        "on_chain_start",
        "on_prompt_start",
        "on_prompt_end",
        "on_chat_model_start",
    ]
    chunk = ["on_chat_model_stream", "on_parser_stream", "on_chain_stream"]
    assert kinds[4:14] == [chunk[0], "on_parser_start", *chunk[1:], *chunk, *chunk]
    assert kinds[14:] == ["on_chat_model_end", "on_parser_end", "on_chain_end"]
    assert (
        "".join(e["data"]["chunk"] for e in found if e["event"] == "on_chain_stream") == "one two"
    )


def test_the_branches_of_a_parallel_start_together_and_end_after_their_chunks_were_read() -> None:
    lines = told(events(RunnableParallel(a=step(lambda x: x, "a"), b=step(lambda x: x, "b")), 1))
    assert lines[:3] == ["start RunnableParallel<a,b>", "start a", "start b"]
    assert lines[-1] == "end RunnableParallel<a,b>"
    for key in ("a", "b"):  # which of the two is first is for the threads to say
        own = [f"stream {key} 1", f"stream RunnableParallel<a,b> {{'{key}': 1}}", f"end {key}"]
        assert [line for line in lines if line in own] == own


def test_what_is_known_of_input_and_output_is_told() -> None:
    found = events(step(lambda x: x + 1, "s1") | step(lambda x: x * 2, "s2"), 1)
    data = {(e["event"], e["name"]): e["data"] for e in found}
    assert data["on_chain_start", "RunnableSequence"] == {"input": 1}
    assert data["on_chain_start", "s2"] == {}  # it is not known yet
    assert data["on_chain_end", "s2"] == {"output": 4, "input": 2}
    assert data["on_chain_end", "RunnableSequence"] == {"output": 4}


def test_a_model_at_the_root_shows_its_input_as_given_and_below_as_messages() -> None:
    def start_and_end(runnable: Any, value: Any) -> list[Any]:
        found = [event for event in events(runnable, value) if "chat_model" in event["event"]]
        return [found[0]["data"], found[-1]["data"]]

    start, end = start_and_end(model(), "hi")
    assert start == {"input": "hi"}
    assert end["output"].content == "one two"
    assert "input" not in end
    start, end = start_and_end(PROMPT | model(), {"q": "hi"})
    assert start == {"input": {"messages": [[HumanMessage("hi")]]}}
    assert end["input"] == start["input"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_model_that_is_invoked_inside_of_a_function_is_heard_token_by_token(
    asynchronous: bool,
) -> None:
    async def ask(value: str) -> Any:
        return (await model().ainvoke(value)).content

    def ask_here(value: str) -> Any:
        return model().invoke(value).content

    found = events(RunnableLambda(ask if asynchronous else ask_here), "hi")
    chunks = [
        event["data"]["chunk"].content
        for event in found
        if event["event"] == "on_chat_model_stream"
    ]
    assert [chunk for chunk in chunks if chunk] == ["one", " ", "two"]
    end = next(event for event in found if event["event"] == "on_chat_model_end")
    assert type(end["data"]["output"]) is AIMessage
    assert end["parent_ids"] == [found[0]["run_id"]]


def test_parent_ids_lead_from_the_root() -> None:
    inner = RunnablePassthrough.assign(z=step(lambda d: 1, "z"))
    found = events(step(lambda x: x, "first") | inner, {"a": 1})
    ids = {event["name"]: event["run_id"] for event in found}
    z = next(event for event in found if event["name"] == "z")
    assert z["parent_ids"] == [
        ids["RunnableSequence"],
        ids["RunnableAssign<z>"],
        ids["RunnableParallel<z>"],
    ]
    assert events(inner, {"a": 1}, version="v1")[-2]["parent_ids"] == []


def test_tags_metadata_and_ids_are_those_of_the_runs() -> None:
    root_id = uuid4()
    config = {"tags": ["all"], "metadata": {"user": 7}, "run_id": root_id}
    found = events(
        step(lambda x: x, "s1") | RunnableLambda(lambda x: x).with_config(tags=["own"]), 1, config
    )
    assert UUID(found[0]["run_id"]) == root_id
    assert all("all" in event["tags"] and event["metadata"] == {"user": 7} for event in found)
    assert {"seq:step:2", "own"} <= set(
        next(e for e in found if e["name"] == "RunnableLambda")["tags"]
    )
    assert set(found[0]) == {"event", "name", "run_id", "parent_ids", "tags", "metadata", "data"}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"include_names": ["s1"]}, {"s1"}),
        ({"include_types": ["prompt"]}, {"ChatPromptTemplate"}),
        ({"include_types": ["chat_model"]}, {"GenericFakeChatModel"}),
        ({"include_tags": ["mine"]}, {"GenericFakeChatModel"}),
        ({"include_tags": ["mine"], "include_names": ["s1"]}, {"GenericFakeChatModel", "s1"}),
        ({"exclude_types": ["chain", "prompt"]}, {"GenericFakeChatModel"}),
        (
            {"exclude_names": ["RunnableSequence", "s1"], "exclude_tags": ["mine"]},
            {"ChatPromptTemplate"},
        ),
        ({"include_names": ["s1"], "exclude_names": ["s1"]}, set()),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_events_are_chosen_by_name_type_and_tag(
    version: str, choice: dict[str, Any], names: set[str]
) -> None:
    chain = PROMPT | model().with_config(tags=["mine"]) | step(lambda m: m, "s1")
    assert {
        event["name"] for event in events(chain, {"q": "hi"}, version=version, **choice)
    } == names


def test_a_model_that_nobody_chose_is_not_made_to_stream() -> None:
    class Counting(GenericFakeChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError

    async def ask(value: str) -> Any:
        return (await Counting(messages=iter(["one two"])).ainvoke(value)).content

    assert told(events(RunnableLambda(ask), "hi", include_names=["ask"]))[-1] == "end ask"


def test_custom_events_stand_where_they_were_dispatched() -> None:
    async def later(value: Any, config: RunnableConfig) -> Any:
        await adispatch_custom_event("half", [1, 2], config=config)
        return value

    def now(value: Any) -> Any:
        dispatch_custom_event("done", "yes")
        return value

    found = events(RunnableLambda(later) | RunnableLambda(now), 1)
    half, done = (event for event in found if event["event"] == "on_custom_event")
    ids = {event["name"]: event["run_id"] for event in found if event["event"] == "on_chain_start"}
    assert (half["name"], half["data"], half["run_id"]) == ("half", [1, 2], ids["later"])
    assert (done["name"], done["data"], done["run_id"]) == ("done", "yes", ids["now"])
    assert half["parent_ids"] == done["parent_ids"] == [ids["RunnableSequence"]]
    assert told(found).index("start later") < found.index(half) < told(found).index("end later")


def test_an_error_reaches_the_reader_after_the_events_before_it() -> None:
    def fail(value: int) -> int:
        raise ValueError("boom")

    async def read(version: str) -> list[Any]:
        found = []
        with pytest.raises(ValueError, match="boom"):
            async for event in (step(lambda x: x, "s1") | step(fail, "bad")).astream_events(
                1, version=version
            ):
                found.append(event)
        return found

    assert told(asyncio.run(read("v2")))[-2:] == ["start bad", "end s1"]
    last = asyncio.run(read("v1"))[-1]
    assert (last["name"], last["data"]) == ("bad", {"output": None, "input": 1})


def test_version_1_tells_the_whole_result_of_a_model_and_no_custom_events() -> None:
    def now(value: Any) -> Any:
        dispatch_custom_event("done", "yes")
        return value

    found = events(PROMPT | model() | RunnableLambda(now), {"q": "hi"}, version="v1")
    end = next(event for event in found if event["event"] == "on_chat_model_end")
    assert end["data"]["output"]["generations"][0][0]["message"].content == "one two"
    assert not [event for event in found if event["event"] == "on_custom_event"]


def test_version_1_tells_documents_in_a_dict_and_version_2_as_they_are() -> None:
    @retriever
    def find(query: str) -> list[Document]:
        return [Document(query)]

    for version, output in (("v1", {"documents": [Document("q")]}), ("v2", [Document("q")])):
        found = events(find | RunnableLambda(len), "q", version=version)
        end = next(event for event in found if event["event"] == "on_retriever_end")
        assert end["data"] == {"input": {"query": "q"}, "output": output}


def test_a_tool_that_fails_says_so_with_its_input() -> None:
    @tool
    def break_down(x: int) -> int:
        """Fail."""
        raise ValueError("boom")

    async def read() -> list[Any]:
        found = []
        with pytest.raises(ValueError, match="boom"):
            async for event in break_down.astream_events({"x": 1}, version="v2"):
                found.append(event)
        return found

    start, error = asyncio.run(read())
    assert (start["event"], start["data"]) == ("on_tool_start", {"input": {"x": 1}})
    assert (error["event"], error["data"]["input"]) == ("on_tool_error", {"x": 1})
    assert isinstance(error["data"]["error"], ValueError)


def test_the_name_given_by_config_is_the_roots_in_both_versions() -> None:
    named = RunnableLambda(lambda x: x).with_config(run_name="mine")
    for version in ("v1", "v2"):
        assert {event["name"] for event in events(named, 1, version=version)} == {"mine"}
        assert {
            event["name"] for event in events(RunnableLambda(int), 1, {"run_name": "his"}, version)
        } == {"his"}


def test_an_unknown_version_is_refused_before_anything_runs() -> None:
    calls: list[int] = []
    with pytest.raises(NotImplementedError, match="`version` of `astream_events`") as caught:
        RunnableLambda(calls.append).astream_events(1, version="v3")  # type: ignore[arg-type]
    assert isinstance(caught.value, CallerError)
    assert calls == []


def test_a_runnable_of_ones_own_that_streams_is_heard_at_the_root() -> None:
    class Counter(Runnable[int, int]):
        def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            return input

        async def astream(
            self, input: int, config: Any = None, **kwargs: Any
        ) -> AsyncIterator[int]:
            from modelwire.runnables.config import (
                ensure_config,
                get_async_callback_manager_for_config,
            )

            ready = ensure_config(config)
            manager = get_async_callback_manager_for_config(ready)
            run = await manager.on_chain_start(
                None, input, name="Counter", run_id=ready.get("run_id")
            )
            for number in range(input):
                yield number
            await run.on_chain_end(input)

    assert told(events(Counter(), 2)) == [
        "start Counter",
        "stream Counter 0",
        "stream Counter 1",
        "end Counter",
    ]


def test_a_child_that_was_given_its_parents_id_is_left_out() -> None:
    async def parent(value: Any, config: RunnableConfig) -> Any:
        return await step(lambda x: x, "child").ainvoke(value, {**config, "run_id": same})

    same = uuid4()
    assert told(events(RunnableLambda(parent), 1, {"run_id": same})) == [
        "start parent",
        "stream parent 1",
        "end parent",
    ]


def test_handlers_of_the_caller_hear_the_same_runs_and_are_kept() -> None:
    class Ear(BaseCallbackHandler):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def on_chain_start(self, serialized: Any, inputs: Any, **about: Any) -> None:
            self.heard.append(about["name"])

    ear = Ear()
    config: Any = {"callbacks": [ear]}
    events(step(lambda x: x, "s1") | step(lambda x: x, "s2"), 1, config)
    assert ear.heard == ["RunnableSequence", "s1", "s2"]
    assert config == {"callbacks": [ear]}


def test_events_from_threads_arrive() -> None:
    def work(value: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return step(lambda x: x + 1, "below").invoke(value)

    found = events(RunnableLambda(work), 1)
    assert told(found) == ["start work", "start below", "end below", "stream work 2", "end work"]


class Slow:
    """A stream of three parts, each of which waits until it is let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cancelled = False

    async def parts(self, source: AsyncIterator[Any]) -> AsyncIterator[int]:
        try:
            async for _ in source:
                for number in range(3):
                    self.begun.append(number)
                    if number:
                        await asyncio.sleep(60)
                    yield number
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_reader_that_leaves_cancels_the_work_and_later_parts_never_begin(version: Any) -> None:
    slow = Slow()

    async def leave() -> None:
        async with aclosing(
            RunnableGenerator(slow.parts).astream_events(1, version=version)
        ) as stream:
            async for event in stream:
                if event["event"] == "on_chain_stream":
                    break

    asyncio.run(asyncio.wait_for(leave(), 10))
    assert slow.begun == [0, 1]
    assert slow.cancelled


def test_a_reader_that_is_cancelled_cancels_the_work() -> None:
    slow = Slow()

    async def main() -> None:
        begun = asyncio.Event()

        async def read() -> None:
            async for event in RunnableGenerator(slow.parts).astream_events(1, version="v2"):
                if event["event"] == "on_chain_stream":
                    begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slow.cancelled

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_slow_reader_holds_the_producer() -> None:
    made = 0

    async def many(source: AsyncIterator[Any]) -> AsyncIterator[int]:
        nonlocal made
        async for _ in source:
            for made in range(1, 5001):
                yield made

    async def main() -> int:
        async with aclosing(RunnableGenerator(many).astream_events(1, version="v2")) as stream:
            for _ in range(10):
                await anext(stream)
            for _ in range(20):
                await asyncio.sleep(0)
            return made

    assert asyncio.run(main()) < 500


@pytest.mark.parametrize("method", ["astream_events", "stream_events"])
def test_version_v3_is_an_error_that_names_the_versions_there_are_and_the_way_to_it(
    method: str,
) -> None:
    for runnable in (RunnableLambda(len), GenericFakeChatModel(messages=iter(["a"]))):
        with pytest.raises(
            NotImplementedError, match=r'"v2" (or|and) "v1".*as_langchain'
        ) as caught:
            getattr(runnable, method)("hi", version="v3")
        assert isinstance(caught.value, CallerError)
    with pytest.raises(NotImplementedError, match="stream_events"):
        RunnableLambda(len).stream_events("hi")
