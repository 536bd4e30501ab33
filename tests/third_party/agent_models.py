"""Puts our models in the place of the fake models of LangGraph's and LangChain's own tests: a plugin of pytest.

`tests/langchain/test_agent_suites.py` starts pytest with it, in a process of its own for each suite.
`FakeToolCallingModel` becomes a chat model of ours that calls a `ProviderServer` over HTTP, `GenericFakeChatModel` ours
of that name; both reach LangChain as a `ModelwireChatModel`. The server and the models note which test is answered, and
the plugin writes these tests to a file.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import pytest
from langchain_core import language_models
from langchain_core.language_models import BaseChatModel as TheirChatModel
from langchain_core.language_models import fake_chat_models
from langchain_core.outputs import ChatResult
from pydantic import BaseModel
from third_party.agent_exceptions import EXCEPTIONS, LEFT_OUT, ON_ONE_WIRE

from modelwire.langchain import ModelwireChatModel, from_langchain
from modelwire.testing import GenericFakeChatModel as OurGenericFakeChatModel
from modelwire.testing import ProviderServer
from modelwire.testing.server.answers import Answer

# Each test whose answer came from a model of modelwire.
_reached: set[str] = set()
_running = ""
# The wire of the models whose test does not choose one.
_wire = "openai"
# The parameters that ask for an answer in a form.
_FORMS = frozenset(("response_format", "output_format", "output_config"))
_numbers = count()
# The name of a model, which its requests contain -> the model.
_models: WeakValueDictionary[str, FakeToolCallingModel] = WeakValueDictionary()


def _note() -> None:
    _reached.add(_running)


def _answer(request: Any) -> Answer:
    """Return the answer of the server: the model that calls says which it is."""
    _note()
    return _models[request.model].next_answer(request.wire, request.fields)


SERVER = ProviderServer(default=_answer, keep=0)


class _Double(ModelwireChatModel):
    """A model of ours with the fields of a fake model. A test's subclass may have a `_generate` of its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_generate" in vars(cls) and not cls.__module__.startswith(__name__):
            for name in ("_agenerate", "_stream", "_astream"):
                if name not in vars(cls):
                    setattr(cls, name, getattr(cls.replaced(), name))
            cls._stream_chat_model_events = cls._astream_chat_model_events = None

    @classmethod
    def replaced(cls) -> type:
        """Return the class whose methods call `_generate`."""
        return TheirChatModel


class FakeToolCallingModel(_Double):
    """Repeats the texts that the server has received, with the tool calls of the list `tool_calls` in turn."""

    tool_calls: Any = None
    structured_response: Any = None
    index: int = 0
    tool_style: str = "openai"
    # LangGraph's fake model gives a structured response apart from its calls, LangChain's as one of them.
    form_is_apart: ClassVar[bool] = False

    def __init__(self, **fields: Any) -> None:
        name = f"fake-{next(_numbers)}"
        wire = fields.get("tool_style", _wire)
        super().__init__(SERVER.model(wire, model=name, max_retries=0), **fields)
        _models[name] = self

    def next_answer(self, wire: str, fields: dict[str, Any]) -> Answer:
        in_form = not _FORMS.isdisjoint(fields)
        if self.form_is_apart:
            form = _plain(self.structured_response)
            if in_form:
                return Answer(json.dumps(form))
            choice = fields.get("tool_choice")
            if isinstance(choice, dict) and "name" in choice:
                return Answer(tool_calls=[{"name": choice["name"], "args": form}])
        calls = self.tool_calls or [[]]
        if in_form and self.index >= len(self.tool_calls or ()):
            chosen = []
        else:
            chosen = calls[self.index % len(calls)]
        self.index += 1
        if in_form and not chosen:
            return Answer(json.dumps(_plain(self.structured_response)))
        return Answer("-".join(_texts(wire, fields)), tool_calls=chosen)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        index = self.index
        return _result(super()._generate(*args, **kwargs), index)

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        index = self.index
        return _result(await super()._agenerate(*args, **kwargs), index)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        index = self.index
        for chunk in super()._stream(*args, **kwargs):
            yield _as_of_a_fake(chunk, index)

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        index = self.index
        async for chunk in super()._astream(*args, **kwargs):
            yield _as_of_a_fake(chunk, index)


def _result(result: Any, index: int) -> Any:
    generation = _as_of_a_fake(result.generations[0], index)
    generation.message.content = generation.message.text  # Anthropic's has blocks beside a call.
    return ChatResult(generations=[generation])


def _as_of_a_fake(generation: Any, index: int) -> Any:
    """Give the message the id that the tests expect, and remove what no fake model has: usage and metadata."""
    generation.generation_info = None
    message = generation.message
    message.id, message.usage_metadata = str(index), None
    for name in message.response_metadata.keys() - {"output_version"}:
        del message.response_metadata[name]
    return generation


def _plain(form: Any) -> Any:
    if isinstance(form, BaseModel):
        return form.model_dump()
    if dataclasses.is_dataclass(form):
        return dataclasses.asdict(form)  # type: ignore[arg-type]
    return form


def _texts(wire: str, fields: dict[str, Any]) -> list[str]:
    """Return the text of each message, as the provider has received it."""
    first = [_text(fields["system"])] if fields.get("system") else []
    if wire == "openai":
        return first + [_text(one.get("content")) for one in fields["messages"]]
    return first + [
        text for message in fields["messages"] for text in _block_texts(message["content"])
    ]


def _block_texts(content: Any) -> list[str]:
    """Return the texts of a message of Anthropic's: a tool's result is a message of its own."""
    if isinstance(content, str):
        return [content]
    results = [_text(block.get("content")) for block in content if block["type"] == "tool_result"]
    return results or [_text(content)]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(block.get("text", "") for block in content)
    return content or ""


class _Noting(OurGenericFakeChatModel):
    def _next(self) -> Any:
        _note()
        return super()._next()


class GenericFakeChatModel(_Double):
    """Returns the items of `messages` in turn."""

    messages: Any

    def __init__(self, **fields: Any) -> None:
        messages = map(from_langchain, fields["messages"])
        super().__init__(_Noting(messages=messages), **fields)

    @classmethod
    def replaced(cls) -> type:
        return _THEIR_GENERIC


_THEIR_GENERIC = fake_chat_models.GenericFakeChatModel


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", help="the suite that runs, by its name in `third_party/fetch.py`")
    parser.addoption("--wire", default="openai", help="the wire of the models")
    parser.addoption("--reached", type=Path, help="the file for the tests that our models answered")


def pytest_configure(config: pytest.Config) -> None:
    global _wire
    _wire = config.getoption("wire")
    SERVER.start()
    fake_chat_models.GenericFakeChatModel = GenericFakeChatModel
    language_models.GenericFakeChatModel = GenericFakeChatModel
    suite = config.getoption("suite")
    FakeToolCallingModel.form_is_apart = suite == "langgraph-prebuilt"
    home = {"langgraph-prebuilt": "tests.model", "langchain": "tests.unit_tests.agents.model"}
    module = importlib.import_module(home[suite])
    module.FakeToolCallingModel = FakeToolCallingModel


def pytest_unconfigure(config: pytest.Config) -> None:
    SERVER.close()
    if (path := config.getoption("reached")) is not None:
        path.write_text(json.dumps(sorted(_reached)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    global _running
    _running = item.nodeid


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the exceptions. Raise `UsageError` for one that is no test's name."""
    suite = config.getoption("suite")
    exceptions = {**EXCEPTIONS[suite], **ON_ONE_WIRE.get((suite, _wire), {})}
    names = set()
    for item in items:
        name = item.nodeid.partition("[")[0].rpartition("/")[2]
        names.add(name)
        if name in exceptions:
            item.add_marker(pytest.mark.xfail(reason=exceptions[name], strict=True))
        if reason := LEFT_OUT.get(name) or LEFT_OUT.get(name.partition("::")[0]):
            item.add_marker(pytest.mark.skip(reason=reason))
    if missing := exceptions.keys() - names:
        raise pytest.UsageError(f"`agent_exceptions.py` names tests that are not there: {missing}")
