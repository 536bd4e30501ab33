"""Retrievers: found documents, what listeners hear, runs inside, deadlines, and the decorator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.documents import Document
from modelwire.errors import InvalidType, Timeout
from modelwire.retrievers import BaseRetriever, retriever
from modelwire.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough


class Echo(BaseRetriever):
    """Finds `k` documents that hold the query."""

    k: int = 2

    def _get_relevant_documents(
        self, query: str, *, run_manager: Any, **kwargs: Any
    ) -> list[Document]:
        return [Document(page_content=query, metadata=kwargs)] * self.k


class Listener(BaseCallbackHandler):
    """Writes down what is heard of retrievers, and which runs are inside which."""

    run_inline = True

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.starts: dict[str, dict[str, Any]] = {}

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.heard.append(("start", query))
        self.starts[kwargs["name"]] = kwargs

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.heard.append(("end", documents))

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.heard.append(("error", error))

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.starts[kwargs["name"]] = kwargs


def test_a_retriever_finds_with_and_without_listeners(colour: Any) -> None:
    found = [Document("q"), Document("q")]
    assert colour.invoke(Echo(), "q") == found
    assert colour.invoke(Echo(), "q", {"callbacks": [Listener()]}) == found


def test_a_retriever_streams_and_batches(colour: Any) -> None:
    assert colour.stream(Echo(k=1), "q") == [[Document("q")]]
    assert colour.batch(Echo(k=1), ["a", "b"]) == [[Document("a")], [Document("b")]]
    assert colour.transform(Echo(k=1), ["a", "b"]) == [[Document("ab")]]


def test_keywords_reach_the_search(colour: Any) -> None:
    assert colour.invoke(Echo(k=1), "q", None, page=3)[0].metadata == {"page": 3}
    assert colour.invoke(Echo(k=1).bind(page=4), "q")[0].metadata == {"page": 4}


def test_listeners_hear_one_start_and_one_end(colour: Any) -> None:
    listener = Listener()
    colour.invoke(Echo(k=1), "q", {"callbacks": [listener]})
    assert listener.heard == [("start", "q"), ("end", [Document("q")])]


def test_a_start_has_the_tags_and_metadata_of_both_sides(colour: Any) -> None:
    listener = Listener()
    config = RunnableConfig(
        callbacks=[listener], tags=["given"], metadata={"who": "caller", "a": 1}
    )
    colour.invoke(Echo(tags=["own"], metadata={"who": "me"}), "q", config)
    assert listener.starts["Echo"]["tags"] == ["given", "own"]
    assert listener.starts["Echo"]["metadata"] == {"who": "me", "a": 1, "ls_retriever_name": "echo"}


def test_the_run_may_be_named_by_the_config(colour: Any) -> None:
    listener = Listener()
    colour.invoke(Echo(), "q", {"callbacks": [listener], "run_name": "lookup"})
    assert [*listener.starts] == ["lookup"]


def test_listeners_hear_of_a_failure_once(colour: Any) -> None:
    failure = OSError("no disk")

    @retriever
    def broken(query: str) -> list[Document]:
        raise failure

    listener = Listener()
    with pytest.raises(OSError, match="no disk"):
        colour.invoke(broken, "q", {"callbacks": [listener]})
    assert listener.heard == [("start", "q"), ("error", failure)]


def test_listeners_hear_of_a_cancelled_search() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @retriever
        async def slow(query: str) -> list[Document]:
            begun.set()
            await asyncio.sleep(60)
            return []

        task = asyncio.create_task(slow.ainvoke("q", {"callbacks": [listener]}))
        await asyncio.wait_for(begun.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    listener = Listener()
    asyncio.run(main())
    assert [kind for kind, _ in listener.heard] == ["start", "error"]
    assert isinstance(listener.heard[1][1], asyncio.CancelledError)


def test_a_call_inside_a_search_is_a_child_of_its_run(colour: Any) -> None:
    rewrite = RunnableLambda(str.upper, name="rewrite")

    @retriever
    def clever(query: str) -> list[Document]:
        return [Document(rewrite.invoke(query))]

    listener = Listener()
    assert colour.invoke(clever, "q", {"callbacks": [listener], "tags": ["given"]}) == [
        Document("Q")
    ]
    assert listener.starts["rewrite"]["parent_run_id"] == listener.starts["clever"]["run_id"]
    assert listener.starts["rewrite"]["tags"] == ["given"]


def test_a_search_may_hand_its_run_on(colour: Any) -> None:
    rewrite = RunnableLambda(str.upper, name="rewrite")

    class Clever(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document(rewrite.invoke(query, {"callbacks": run_manager.get_child()}))]

    assert colour.invoke(Clever(), "q") == [Document("Q")]
    listener = Listener()
    colour.invoke(Clever(), "q", {"callbacks": [listener]})
    assert listener.starts["rewrite"]["parent_run_id"] == listener.starts["Clever"]["run_id"]


def test_the_async_search_is_preferred_by_the_async_methods(colour: Any) -> None:
    class Both(Echo):
        async def _aget_relevant_documents(
            self, query: str, *, run_manager: Any, **kwargs: Any
        ) -> list[Document]:
            return [Document("async")]

    text = colour.invoke(Both(), "sync")[0].page_content
    assert text == colour.name


def test_a_search_need_not_take_the_run_manager(colour: Any) -> None:
    class Plain(BaseRetriever):
        def _get_relevant_documents(self, query: str) -> list[Document]:  # type: ignore[override]
            return [Document(query)]

    assert colour.invoke(Plain(), "q", {"callbacks": [Listener()]}) == [Document("q")]


def test_a_late_search_raises_timeout() -> None:
    @retriever
    async def slow(query: str) -> list[Document]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(Timeout, match=r"`slow` did not finish within the 0\.01 s"):
        asyncio.run(slow.ainvoke("q", {"timeout": 0.01}))


# ---------------------------------------------------------------- the decorator


def test_a_plain_function_keeps_its_name_and_its_keywords(colour: Any) -> None:
    @retriever
    def search(query: str, k: int = 1) -> list[Document]:
        return [Document(query)] * k

    assert search.get_name() == "search"
    assert colour.invoke(search, "q", None, k=3) == [Document("q")] * 3


def test_the_decorator_takes_a_name_tags_and_metadata(colour: Any) -> None:
    @retriever(name="notes", tags=["own"], metadata={"table": "notes"})
    def search(query: str) -> list[Document]:
        return []

    listener = Listener()
    assert colour.invoke(search, "q", {"callbacks": [listener]}) == []
    assert listener.starts["notes"]["tags"] == ["own"]
    assert listener.starts["notes"]["metadata"] == {"table": "notes", "ls_retriever_name": "notes"}


def test_an_async_function_answers_the_async_methods_only() -> None:
    @retriever
    async def search(query: str) -> list[Document]:
        return [Document(query)]

    assert asyncio.run(search.ainvoke("q")) == [Document("q")]
    with pytest.raises(InvalidType, match=r"`search` has only an async function\. Use `ainvoke`"):
        search.invoke("q")


def test_documents_may_be_yielded(colour: Any) -> None:
    @retriever
    def search(query: str) -> Iterator[Document]:
        yield from map(Document, query)

    @retriever
    async def asearch(query: str) -> AsyncIterator[Document]:
        for letter in query:
            yield Document(letter)

    found = [Document("a"), Document("b")]
    assert colour.invoke(search, "ab") == found
    assert asyncio.run(asearch.ainvoke("ab")) == found


def test_a_function_may_ask_for_the_run_and_the_config(colour: Any) -> None:
    @retriever
    def search(query: str, run_manager: Any, config: RunnableConfig) -> list[Document]:
        return [Document(query, metadata={"run": str(run_manager.run_id), "tags": config["tags"]})]

    assert colour.invoke(search, "q", {"tags": ["a"]})[0].metadata["tags"] == ["a"]
    listener = Listener()
    (found,) = colour.invoke(search, "q", {"callbacks": [listener]})
    assert found.metadata["run"] == str(listener.starts["search"]["run_id"])


@pytest.mark.parametrize("wrong", [None, "a text", {"page_content": "a"}, Document("a"), 3])
def test_what_is_no_list_of_documents_is_refused_by_name(colour: Any, wrong: Any) -> None:
    search = retriever(lambda query: wrong)
    with pytest.raises(
        InvalidType, match=f"must return a list of `Document`, not a `{type(wrong).__name__}`"
    ):
        colour.invoke(search, "q")


def test_only_a_function_can_be_decorated() -> None:
    with pytest.raises(InvalidType, match="`@retriever` decorates a function, not a `str`"):
        retriever("search")  # type: ignore[call-overload]


def test_the_question_answering_chain_reports_every_part(colour: Any) -> None:
    @retriever
    def search(query: str) -> list[Document]:
        return [Document("a fact")]

    def format_docs(documents: list[Document]) -> str:
        return " ".join(document.page_content for document in documents)

    def answer(seen: dict[str, str]) -> str:
        return f"{seen['question']} {seen['context']}"

    listener = Listener()
    steps = {"context": search | format_docs, "question": RunnablePassthrough()} | RunnableLambda(
        answer
    )
    chain = steps.with_config(run_name="whole")
    assert colour.invoke(chain, "why?", {"callbacks": [listener]}) == "why? a fact"
    assert colour.stream(chain, "why?") == ["why? a fact"]
    inside = {name: about["parent_run_id"] for name, about in listener.starts.items()}
    ids = {name: about["run_id"] for name, about in listener.starts.items()}
    names = {run_id: name for name, run_id in ids.items()}
    assert [*_upwards("search", inside, names)] == [
        "search",
        "RunnableSequence",
        "RunnableParallel<context,question>",
        "whole",
    ]
    assert {"format_docs", "answer", "RunnablePassthrough"} <= listener.starts.keys()


def _upwards(name: str | None, inside: dict[str, Any], names: dict[Any, str]) -> Iterator[str]:
    while name is not None:
        yield name
        name = names.get(inside[name])


def test_the_event_stream_has_a_retriever_in_it() -> None:
    @retriever
    async def search(query: str) -> list[Document]:
        return [Document("a fact")]

    async def events(runnable: Any) -> list[dict[str, Any]]:
        return [event async for event in runnable.astream_events("why?", version="v2")]

    alone = asyncio.run(events(search))
    assert [(event["event"], event["name"]) for event in alone] == [
        ("on_retriever_start", "search"),
        ("on_retriever_end", "search"),
    ]
    assert alone[0]["data"] == {"input": "why?"}
    assert alone[1]["data"]["output"] == [Document("a fact")]

    inside = [event for event in asyncio.run(events(search | len)) if event["name"] == "search"]
    assert [event["event"] for event in inside] == ["on_retriever_start", "on_retriever_end"]
    assert inside[1]["data"] == {"input": {"query": "why?"}, "output": [Document("a fact")]}
    assert inside[0]["tags"] == ["seq:step:1"]
    assert len(inside[0]["parent_ids"]) == 1
