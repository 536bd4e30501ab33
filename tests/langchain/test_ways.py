"""The 42 ways of mixing: what of ours stands in what of LangChain's, and what of LangChain's in what of ours."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import langchain_core.messages as their_messages
import langchain_core.runnables as theirs
import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.chat_history import InMemoryChatMessageHistory as TheirHistory
from langchain_core.documents import Document as TheirDocument
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.exceptions import ModelTimeoutError
from langchain_core.output_parsers import StrOutputParser as TheirParser
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.prompts import ChatPromptTemplate as TheirPrompt
from langchain_core.retrievers import BaseRetriever as TheirBaseRetriever
from langchain_core.runnables.history import RunnableWithMessageHistory as TheirWithHistory
from langchain_core.tools import tool as their_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI as TheirChatOpenAI
from langgraph.prebuilt import create_react_agent

import modelwire.messages as our_messages
import modelwire.runnables as ours
from modelwire.callbacks import BaseCallbackHandler as OurBaseHandler
from modelwire.chat_history import InMemoryChatMessageHistory
from modelwire.documents import Document
from modelwire.errors import ModelwireError, ServerError, Timeout
from modelwire.langchain import as_langchain, install, to_langchain
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate, MessagesPlaceholder
from modelwire.retrievers import BaseRetriever
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer
from modelwire.tools import tool


@tool
def our_double(a: int) -> int:
    """Double a number."""
    return 2 * a


@their_tool
def their_double(a: int) -> int:
    """Double a number."""
    return 2 * a


class OurRetriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        return [Document(page_content=f"about {query}", metadata={"n": 1})]


class TheirRetriever(TheirBaseRetriever):
    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[TheirDocument]:
        return [TheirDocument(page_content=f"about {query}", metadata={"n": 1})]


class TheirHandler(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.heard += messages[0]

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.heard.append(response.generations[0][0].message)


class OurHandler(OurBaseHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    on_chat_model_start = TheirHandler.on_chat_model_start
    on_llm_end = TheirHandler.on_llm_end


class Desk:
    """A server that says again what the user said, and both sides' models and chains of it."""

    def __init__(self, server: ProviderServer, colour: Any) -> None:
        self.server, self.colour = server, colour
        self.ours = server.model("openai", max_retries=0)
        url = server.base_url + "/v1"
        fresh = httpx2.AsyncClient(
            limits=httpx2.Limits(max_keepalive_connections=0)
        )  # each call has its own loop
        self.theirs = TheirChatOpenAI(
            model="gpt-x", api_key="k", base_url=url, max_retries=0, http_async_client=fresh
        )
        self.our_prompt = ChatPromptTemplate.from_messages([("user", "say {x}")])
        self.their_prompt = TheirPrompt.from_messages([("user", "say {x}")])

    def run(self, runnable: Any, value: Any, config: Any = None) -> Any:
        """Invoke and stream it; both must give the same text. Return what `invoke` gave."""
        whole = self.colour.invoke(runnable, value, config)
        chunks = self.colour.stream(runnable, value, config)
        assert text_of(chunks) == text_of([whole])
        return whole


def text_of(values: list[Any]) -> str:
    """Everything that was said in `values`, in order of keys."""
    found: dict[str, str] = {}
    for value in values:
        for key, part in value.items() if isinstance(value, dict) else [("", value)]:
            found[key] = found.get(key, "") + str(getattr(part, "text", part))
    return "".join(found[key] for key in sorted(found))


def in_their_agent(desk: Desk, make: Callable[..., Any], tool: Any) -> Any:
    name = "our_double" if tool is not their_double else "their_double"
    desk.server.say(Answer(tool_calls=[{"name": name, "args": {"a": 4}}]), "done")
    state = desk.colour.invoke(
        make(as_langchain(desk.ours), [tool]), {"messages": [("user", "go")]}
    )
    return [message.text for message in state["messages"]][2:]


def with_their_history(desk: Desk) -> Any:
    store = InMemoryChatMessageHistory()
    chain = TheirWithHistory(as_langchain(desk.ours), lambda session_id: as_langchain(store))
    for text in ("one", "two"):
        desk.colour.invoke(
            chain, [their_messages.HumanMessage(text)], {"configurable": {"session_id": "1"}}
        )
    assert all(isinstance(message, our_messages.BaseMessage) for message in store.messages)
    return [message.text for message in store.messages]


def with_our_history(desk: Desk) -> Any:
    store = TheirHistory()
    chain = ours.RunnableWithMessageHistory(desk.ours, lambda session_id: store)
    for text in ("one", "two"):
        desk.colour.invoke(chain, text, {"configurable": {"session_id": "1"}})
    assert all(isinstance(message, their_messages.BaseMessage) for message in store.messages)
    return [message.text for message in store.messages]


def heard_by(handler: Any, model: Any, desk: Desk, callbacks: Any = None) -> Any:
    desk.colour.invoke(model, "hi", {"callbacks": callbacks or [handler]})
    side = their_messages if isinstance(handler, BaseCallbackHandler) else our_messages
    assert all(isinstance(message, side.BaseMessage) for message in handler.heard)
    return [message.text for message in handler.heard]


def their_manager(handler: Any, desk: Desk) -> Any:
    kind = AsyncCallbackManager if desk.colour.name == "async" else CallbackManager
    return kind([handler], parent_run_id=uuid.uuid4())


def as_alternative(first: Any, second: Any, field: Any, desk: Desk) -> Any:
    chain = first.configurable_alternatives(field(id="which"), other=second)
    return desk.run(chain, "hi", {"configurable": {"which": "other"}}).text


def as_fallback(first: Any, second: Any, desk: Desk) -> Any:
    desk.server.say(ServerError("down", status=500), "hi")
    return desk.colour.invoke(first.with_fallbacks([second]), "hi").text


def called(model: Any, desk: Desk) -> Any:
    desk.server.say(Answer(tool_calls=[{"name": "double", "args": {"a": 4}}]))
    (call,) = desk.colour.invoke(model, "hi").tool_calls
    assert (
        desk.server.requests[0].fields["tools"][0]["function"]["description"] == "Double a number."
    )
    return call["args"]


def after_install(way: Callable[[], Any]) -> Any:
    install()
    return way()


def store_of(desk: Desk) -> InMemoryVectorStore:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_texts(["about cats"])
    return store


text, their_text = StrOutputParser(), TheirParser()
branch = lambda value: value["x"] == "a"  # noqa: E731

# What stands where -> how, and what comes of it; an error's class is a refusal.
WAYS: dict[str, tuple[Callable[[Desk], Any], Any]] = {
    # Ours in LangChain's
    "our model in create_agent": (
        lambda d: in_their_agent(d, create_agent, their_double),
        ["8", "done"],
    ),
    "our model in create_react_agent": (
        lambda d: in_their_agent(d, create_react_agent, their_double),
        ["8", "done"],
    ),
    "our tool in their agent": (
        lambda d: in_their_agent(d, create_agent, as_langchain(our_double)),
        ["8", "done"],
    ),
    "our model after their prompt": (
        lambda d: d.run(d.their_prompt | as_langchain(d.ours), {"x": "a"}).text,
        "say a",
    ),
    "our model before their parser": (
        lambda d: d.run(as_langchain(d.ours) | their_text, "hi"),
        "hi",
    ),
    "our model after their lambda": (
        lambda d: d.run(theirs.RunnableLambda(lambda x: x + "!") | as_langchain(d.ours), "hi").text,
        "hi!",
    ),
    "our model in their dict": (
        lambda d: d.run(
            {"a": as_langchain(d.ours)} | theirs.RunnableLambda(lambda x: x["a"].text), "hi"
        ),
        "hi",
    ),
    "our chain in their branch": (
        lambda d: (
            d.run(
                theirs.RunnableBranch(
                    (branch, as_langchain(d.our_prompt | d.ours)), d.their_prompt | d.theirs
                ),
                {"x": "a"},
            ).text
        ),
        "say a",
    ),
    "our prompt before their model": (
        lambda d: d.run(as_langchain(d.our_prompt) | d.theirs, {"x": "a"}).text,
        "say a",
    ),
    "our parser after their model": (lambda d: d.run(d.theirs | as_langchain(text), "hi"), "hi"),
    "our lambda in their chain": (
        lambda d: d.run(
            d.theirs | as_langchain(ours.RunnableLambda(lambda m: type(m).__module__)), "hi"
        ),
        "modelwire.messages.ai",
    ),
    "our retriever in their chain": (
        lambda d: d.colour.invoke(
            as_langchain(OurRetriever()) | theirs.RunnableLambda(lambda docs: docs), "cats"
        ),
        [TheirDocument(page_content="about cats", metadata={"n": 1})],
    ),
    "our tool bound to their model": (
        lambda d: called(d.theirs.bind_tools([as_langchain(our_double)]), d),
        {"a": 4},
    ),
    "our message to their model": (
        lambda d: d.run(d.theirs, to_langchain([our_messages.HumanMessage("hi")])).text,
        "hi",
    ),
    "our history in theirs": (with_their_history, ["one", "one", "two", "two"]),
    "our handler on their model": (
        lambda d: heard_by(h := OurHandler(), d.theirs, d, [as_langchain(h)]),
        ["hi", "hi"],
    ),
    "our model as their fallback": (lambda d: as_fallback(d.theirs, as_langchain(d.ours), d), "hi"),
    "our model as their alternative": (
        lambda d: as_alternative(d.theirs, as_langchain(d.ours), theirs.ConfigurableField, d),
        "hi",
    ),
    "our model in their chain, installed": (
        lambda d: after_install(lambda: d.run(d.their_prompt | d.ours | their_text, {"x": "a"})),
        "say a",
    ),
    "our message to their model, installed": (
        lambda d: after_install(lambda: d.run(d.theirs, [our_messages.HumanMessage("hi")])).text,
        "hi",
    ),
    "our model as their fallback, as it is": (None, ValueError),  # type: ignore[dict-item]  # in NOT_INSTALLED
    # LangChain's in ours
    "their model after our prompt": (
        lambda d: d.run(d.our_prompt | d.theirs, {"x": "a"}).text,
        "say a",
    ),
    "their model before our parser": (
        lambda d: d.run(d.our_prompt | d.theirs | text, {"x": "a"}),
        "say a",
    ),
    "their prompt before our model": (
        lambda d: d.run(ours.RunnablePassthrough() | d.their_prompt | d.ours, {"x": "a"}).text,
        "say a",
    ),
    "their parser after our model": (lambda d: d.run(d.ours | their_text, "hi"), "hi"),
    "their lambda in our chain": (
        lambda d: d.run(d.ours | theirs.RunnableLambda(lambda m: type(m).__module__), "hi"),
        "langchain_core.messages.ai",
    ),
    "their chain in our dict": (
        lambda d: (
            d.run(
                ours.RunnableParallel({"a": d.their_prompt | d.theirs, "b": d.our_prompt | d.ours}),
                {"x": "a"},
            )["a"].text
        ),
        "say a",
    ),
    "their chain in our branch": (
        lambda d: (
            d.run(
                ours.RunnableBranch((branch, d.their_prompt | d.theirs), d.our_prompt | d.ours),
                {"x": "a"},
            ).text
        ),
        "say a",
    ),
    "their retriever in our chain": (
        lambda d: d.colour.invoke(ours.RunnablePassthrough() | TheirRetriever(), "cats"),
        [Document(page_content="about cats", metadata={"n": 1})],
    ),
    "their vector store's retriever in our dict": (
        lambda d: (
            d.run(
                {"x": store_of(d).as_retriever() | (lambda docs: docs[0].page_content)}
                | d.our_prompt
                | d.ours,
                "cats",
            ).text
        ),
        "say about cats",
    ),
    "their vector store as it is": (lambda d: d.our_prompt | store_of(d), ModelwireError),
    "their tool bound to our model": (
        lambda d: called(d.ours.bind_tools([their_double]), d),
        {"a": 4},
    ),
    "their tool in our chain": (
        lambda d: d.run(ours.RunnableLambda(lambda a: {"a": a}) | their_double, 4),
        8,
    ),
    "their message to our model": (
        lambda d: d.run(d.ours, [their_messages.HumanMessage("hi")]).text,
        "hi",
    ),
    "their prompt value to our model": (
        lambda d: d.run(d.ours, ChatPromptValue(messages=[their_messages.HumanMessage("hi")])).text,
        "hi",
    ),
    "their messages in our prompt": (
        lambda d: (
            d.run(
                ChatPromptTemplate.from_messages(
                    [their_messages.SystemMessage("be kind"), MessagesPlaceholder("talk")]
                )
                | d.ours,
                {"talk": [their_messages.HumanMessage("hi")]},
            ).text
        ),
        "hi",
    ),
    "their history in ours": (with_our_history, ["one", "one", "two", "two"]),
    "their handler on our model": (lambda d: heard_by(TheirHandler(), d.ours, d), ["hi", "hi"]),
    "their callback manager in our config": (
        lambda d: heard_by(h := TheirHandler(), d.ours, d, their_manager(h, d)),
        ["hi", "hi"],
    ),
    "their model as our fallback": (lambda d: as_fallback(d.ours, d.theirs, d), "hi"),
    "their model as our alternative": (
        lambda d: as_alternative(d.ours, d.theirs, ours.ConfigurableField, d),
        "hi",
    ),
    "their prompt on the left of our model, as it is": (None, TypeError),  # type: ignore[dict-item]  # NOT_INSTALLED
}


@pytest.mark.parametrize("name", [name for name, (way, _) in WAYS.items() if way is not None])
def test_a_way_of_mixing(name: str, server: ProviderServer, colour: Any) -> None:
    way, expected = WAYS[name]
    desk = Desk(server, colour)
    if isinstance(expected, type):
        with pytest.raises(expected):
            way(desk)
        assert not server.requests
    else:
        assert way(desk) == expected


def test_there_are_42_ways_and_38_work() -> None:
    assert len(WAYS) == 42
    assert {name for name, (way, _) in WAYS.items() if way is None} == set(NOT_INSTALLED)
    assert sum(not isinstance(expected, type) for _, expected in WAYS.values()) >= 38


# What LangChain refuses before it asks us, unless `install` was called -> the code, and what LangChain says of it.
NOT_INSTALLED = {
    "our model as their fallback, as it is": (
        "their_model.with_fallbacks([ours])",
        "ValidationError 1 validation error for RunnableWithFallbacks|fallbacks.0|"
        "  Input should be an instance of Runnable [type=is_instance_of, input_value=ChatOpenAI(model='m')",
    ),
    "their prompt on the left of our model, as it is": (
        "their_prompt | ours",
        "TypeError Expected a Runnable, callable or dict.Instead got an unsupported type: "
        "<class 'modelwire.adapters.providers.openai.ChatOpenAI'>",
    ),
}
_SETTING = """
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from modelwire.adapters import ChatOpenAI
their_prompt, their_model = ChatPromptTemplate.from_messages([("user", "{x}")]), FakeListChatModel(responses=["a"])
ours = ChatOpenAI(model="m", api_key="k")
"""


def test_what_langchain_refuses_before_it_asks_us_is_taken_after_install() -> None:
    """In a process of its own: `install` holds for a whole process. docs/langchain.md says why we cannot be asked."""
    tries = [
        f"try:\n    {code}\nexcept Exception as error:\n    print(type(error).__name__, str(error).replace('\\n', '|'))"
        for code, _ in NOT_INSTALLED.values()
    ]
    install = "from modelwire.langchain import install; install(); print('installed')"
    program = "\n".join([_SETTING, *tries, install, *tries])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    *refused, last = done.stdout.splitlines()
    assert last == "installed", done.stderr
    assert len(refused) == len(NOT_INSTALLED)
    for text, (_, start) in zip(refused, NOT_INSTALLED.values(), strict=True):
        assert text.startswith(start)


def test_after_install_our_model_is_langchains_fallback_and_alternative_as_it_is(
    server: ProviderServer, colour: Any
) -> None:
    install()
    desk = Desk(server, colour)
    assert as_fallback(desk.theirs, desk.ours, desk) == "hi"
    assert as_alternative(desk.theirs, desk.ours, theirs.ConfigurableField, desk) == "hi"
    answer = colour.invoke(desk.theirs.with_fallbacks(fallbacks=(desk.ours,)), "hi")
    assert isinstance(answer, their_messages.AIMessage)


def test_tools_are_bound_to_a_fallback_of_langchains_too(
    server: ProviderServer, colour: Any
) -> None:
    desk = Desk(server, colour)
    server.say(
        ServerError("down", status=500),
        Answer(tool_calls=[{"name": "their_double", "args": {"a": 4}}]),
    )
    answer = colour.invoke(desk.ours.with_fallbacks([desk.theirs]).bind_tools([their_double]), "hi")
    assert isinstance(answer, our_messages.AIMessage)
    assert answer.tool_calls[0]["args"] == {"a": 4}


def test_the_deadline_of_a_chain_of_ours_holds_in_langchains_part(colour: Any) -> None:
    with ProviderServer(latency=30.0) as server:
        desk = Desk(server, colour)
        chain = ours.RunnablePassthrough() | (desk.their_prompt | as_langchain(desk.ours))
        with pytest.raises(Timeout) as caught:
            colour.invoke(chain, {"x": "a"}, {"timeout": 0.3})
        assert isinstance(caught.value, ModelTimeoutError)
