"""Wraps a model of modelwire as LangChain's `BaseChatModel`: LangChain reports the run, modelwire makes the call.

Retries, rate limits, deadlines, caches and errors are modelwire's. The call itself is reported only to observers that
LangChain does not know: `track()`, the log, spans, and handlers of a chain of modelwire around it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.language_models.chat_models import BaseChatModel as TheirChatModel
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field

from modelwire import runnables
from modelwire.adapters import BaseChatModel
from modelwire.aliases import JSON, Fields, Kwargs, Values
from modelwire.config import init_chat_model
from modelwire.errors import InvalidArgument, InvalidType, ModelwireError
from modelwire.ext import (
    V1Stream,
    aclose,
    close,
    result_of,
    set_slots,
)
from modelwire.langchain.callbacks import config_below
from modelwire.langchain.errors import as_theirs
from modelwire.langchain.profile import profile_of
from modelwire.langchain.runnables import ModelwireRunnable, tools_once
from modelwire.langchain.values import own_messages, to_langchain
from modelwire.load import dumpd, loads
from modelwire.messages import LC_ID_PREFIX, HumanMessage
from modelwire.runnables import RunnableBinding, RunnableSequence

try:  # A version of LangChain may have no such events, or make them elsewhere.
    from langchain_core.language_models._compat_bridge import achunks_to_events, chunks_to_events
except ImportError:
    achunks_to_events = chunks_to_events = None

__all__ = ["ModelwireChatModel"]

# The key of a call in LangChain's cache is made with this message, because the real messages are a separate key.
_ANY_MESSAGE = HumanMessage("hi")
# LangChain adds these keywords to a call for its own use.
_NOT_SENT = (
    "stream",
    "ls_structured_output_format",
    "structured_output_format",
    "standard_blocks",
)


class ModelwireChatModel(TheirChatModel):  # type: ignore[misc,unused-ignore]  # LangChain may not be installed
    """A chat model of LangChain's that calls `wrapped`, a model of modelwire.

    Without `wrapped`, `ModelwireChatModel(model="openai:gpt-4o-mini", temperature=0)` makes it by
    `modelwire.init_chat_model`. Attributes that LangChain's models do not have are those of `wrapped`.

    Raises:
        RateLimited, ContextTooLong, ...: The errors of `modelwire.errors`, which are instances of LangChain's
            `ModelRateLimitError`, `ContextOverflowError` and so on, too.
    """

    wrapped: Any = Field(repr=True)
    """The model of modelwire."""

    def __init__(self, wrapped: BaseChatModel | str | None = None, **kwargs: Any) -> None:
        fields = type(self).model_fields.keys() - {"wrapped", "output_version"}
        own = {name: kwargs.pop(name) for name in fields if name in kwargs}
        own["output_version"] = None  # `wrapped` converts its content itself.
        if wrapped is not None and kwargs.get("output_version") is None:
            # LangChain passes all fields when it makes a configured copy.
            kwargs.pop("output_version", None)
        if wrapped is None:
            wrapped = init_chat_model(**kwargs)
        elif kwargs:
            raise InvalidArgument(
                f"`wrapped` has its settings already: {', '.join(f'`{name}`' for name in kwargs)}."
            )
        elif isinstance(wrapped, str):  # `to_json` has written this text.
            wrapped = loads(wrapped, allowed_objects="all", secrets_from_env=True)
        if not isinstance(wrapped, BaseChatModel):
            raise InvalidType(
                f"`wrapped` must be a chat model of modelwire, not a `{type(wrapped).__name__}`."
            )
        super().__init__(wrapped=wrapped, **own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "wrapped" not in self.__dict__:
            return super().__getattr__(name)
        return getattr(self.wrapped, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields or name not in type(self.wrapped).model_fields:
            super().__setattr__(name, value)
        else:
            setattr(self.wrapped, name, value)

    @property
    def _llm_type(self) -> str:
        return self.wrapped._llm_type  # type: ignore[no-any-return]

    @property
    def _identifying_params(self) -> Fields:
        return dict(self.wrapped._identifying_params)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.wrapped._get_ls_params(stop=stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """Return the key of a call in LangChain's cache, which is combined with the messages.

        It contains the key that modelwire's caches use. A call that they do not store gets a unique key.
        """
        key = self.wrapped._cache_key([_ANY_MESSAGE], stop, _sent(kwargs))
        if key is None:
            return f"{self._llm_type} {uuid4()}"
        return json.dumps([self._llm_type, *key, self.wrapped.output_version])

    def _resolve_model_profile(self) -> Any:
        return profile_of(self.wrapped)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: LangChain may serialise this model."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the path of the module, for LangChain's `load`."""
        return __name__.split(".")

    def to_json(self) -> Any:
        """Serialise the model without its API keys, which are read from the environment when it is loaded."""
        form = dumpd(self.wrapped)
        if form["type"] != "constructor":
            return self.to_json_not_implemented()
        for name in self.wrapped.lc_secrets:
            form["kwargs"].pop(name, None)
        return {
            "lc": 1,
            "type": "constructor",
            "id": self.lc_id(),
            "kwargs": {"wrapped": json.dumps(form)},
        }

    def get_token_ids(self, text: str) -> list[int]:
        """Return the ids of the tokens of `text`, if the model has a tokenizer."""
        return self.wrapped.get_token_ids(text)  # type: ignore[no-any-return]

    def get_num_tokens(self, text: str) -> int:
        """Count or estimate the tokens of `text`."""
        return self.wrapped.get_num_tokens(text)  # type: ignore[no-any-return]

    def get_num_tokens_from_messages(self, messages: list[Any], tools: Any = None) -> int:
        """Count or estimate the tokens of messages."""
        return self.wrapped.get_num_tokens_from_messages(own_messages(messages), tools)  # type: ignore[no-any-return]

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Any:
        """Return the model with `tools` bound to it.

        A tool is LangChain's or modelwire's, a function, a pydantic class, or a dict in a provider's shape.

        The keywords are those of modelwire's `bind_tools`: `strict`, `parallel_tool_calls`, `response_format`.
        Raises `InvalidArgument` for an argument that the provider does not support, and for two tools of one name.
        """
        kwargs = _sent(kwargs)
        return self._with(
            self.wrapped.bind_tools(tools_once(tools), tool_choice=tool_choice, **kwargs)
        )

    def with_structured_output(
        self, schema: Any = None, *, include_raw: bool = False, **kwargs: Any
    ) -> Any:
        """Return a runnable whose answers match `schema`; the keywords are those of modelwire's models."""
        traced: Kwargs = {}
        if schema is not None:
            form = {"schema": schema, "kwargs": {"method": kwargs.get("method")}}
            traced["ls_structured_output_format"] = form
        structured = self.wrapped.with_structured_output(
            schema, include_raw=include_raw, **_sent(kwargs)
        )
        return self._with(structured, **traced)

    def configurable_fields(self, **fields: Any) -> Any:
        """Return a runnable whose `fields` the config of a call may set: settings of `wrapped` or of LangChain's model.

        Raises `InvalidArgument` for a field that neither has.
        """
        if fields.keys() <= type(self).model_fields.keys():
            return super().configurable_fields(**fields)
        own = {name: _own_field(field) for name, field in fields.items()}
        return ModelwireRunnable(self.wrapped.configurable_fields(**own))

    def _with(self, runnable: Any, **traced: Any) -> Any:
        """Convert a runnable that begins with `wrapped` to a chain of LangChain's that begins with this model."""
        from modelwire.langchain.convert import as_langchain

        if isinstance(runnable, RunnableSequence):
            first, *rest = runnable.steps
            chain = self._with(first, **traced)
            for step in rest:
                chain = chain | as_langchain(_unchecked(step))
            return chain
        if isinstance(runnable, RunnableBinding):
            is_plain = runnable.bound is self.wrapped and not runnable.config
            if is_plain:
                return self.bind(**runnable.kwargs, **traced)
        if runnable is self.wrapped:
            return self
        return as_langchain(runnable)

    def _generate(
        self,
        messages: list[Any],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            answer = self.wrapped.invoke(
                own_messages(messages), config_below(), stop=stop, **self._keywords(kwargs)
            )
        except ModelwireError as error:
            raise as_theirs(error)  # noqa: B904 - the same error
        return _result(answer)

    async def _agenerate(
        self,
        messages: list[Any],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            answer = await self.wrapped.ainvoke(
                own_messages(messages), config_below(), stop=stop, **self._keywords(kwargs)
            )
        except ModelwireError as error:
            raise as_theirs(error)  # noqa: B904 - the same error
        return _result(answer)

    def _stream(
        self,
        messages: list[Any],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunks = None
        try:
            chunks = self.wrapped.stream(
                own_messages(messages), config_below(), stop=stop, **self._streamed(kwargs)
            )
            blocks = self._blocks(kwargs)
            for chunk in chunks:
                yield _generation(blocks(chunk))
        except ModelwireError as error:
            raise as_theirs(error)  # noqa: B904 - the same error
        finally:
            close(chunks)

    async def _astream(
        self,
        messages: list[Any],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = None
        try:
            chunks = self.wrapped.astream(
                own_messages(messages), config_below(), stop=stop, **self._streamed(kwargs)
            )
            blocks = self._blocks(kwargs)
            async for chunk in chunks:
                yield _generation(blocks(chunk))
        except ModelwireError as error:
            raise as_theirs(error)  # noqa: B904 - the same error
        finally:
            await aclose(chunks)

    if chunks_to_events is not None:
        # LangChain makes these events in the same way, but from chunks in the format of its own integrations.

        def _stream_chat_model_events(
            self, messages: list[Any], run_manager: Any = None, **kwargs: Any
        ) -> Any:
            """Yield the events of `stream_events(version="v3")`."""
            chunks = self._stream(messages, run_manager=run_manager, standard_blocks=True, **kwargs)
            return chunks_to_events(chunks, message_id=_message_id(run_manager))

        def _astream_chat_model_events(
            self, messages: list[Any], run_manager: Any = None, **kwargs: Any
        ) -> Any:
            """Yield the events of `astream_events(version="v3")`."""
            chunks = self._astream(
                messages, run_manager=run_manager, standard_blocks=True, **kwargs
            )
            return achunks_to_events(chunks, message_id=_message_id(run_manager))

    def _blocks(self, kwargs: Values) -> Callable[[Any], Any]:
        """Return a function that converts the chunks of one stream to standard blocks, if the call asks for them."""
        if kwargs.get("standard_blocks") and self.wrapped.output_version != "v1":
            return V1Stream().convert
        return lambda chunk: chunk

    def _keywords(self, kwargs: Values) -> Kwargs:
        """Return the keywords of a call. By default a refusal is a message, because LangChain's programs expect one.

        An `on_refusal` that was set on the model itself wins.
        """
        sent = _sent(kwargs)
        has_choice = "on_refusal" in type(self.wrapped).model_fields
        if has_choice and "on_refusal" not in self.wrapped.model_fields_set:
            sent.setdefault("on_refusal", "message")
        return sent

    def _streamed(self, kwargs: Values) -> Kwargs:
        """Return the keywords of a stream. A broken stream is not restarted, because LangChain adds up all chunks."""
        sent = self._keywords(kwargs)
        if getattr(self.wrapped, "stream_restart", None) is not None:
            sent["stream_restart"] = None
        return sent


def _sent(kwargs: Values) -> Kwargs:
    return {name: value for name, value in kwargs.items() if name not in _NOT_SENT}


def _unchecked(step: Any) -> Any:
    """Return a step of `with_structured_output` without its check of objects against a JSON schema.

    LangChain has no such check; its programs check the objects, such as `LLMToolSelectorMiddleware` does.
    """
    if getattr(step, "check", None) is None:
        return step
    return step.model_copy(update={"check": None})


def _own_field(field: Any) -> Any:
    """Convert LangChain's `ConfigurableField` (or another such class) to modelwire's class of the same name."""
    kind = getattr(runnables, type(field).__name__, None)
    if kind is None:
        return field
    return kind(**field._asdict())


def _result(answer: Any) -> ChatResult:
    result = to_langchain(result_of(answer))
    for generation in result.generations:
        _forget_run(generation.message)
    return result


def _generation(chunk: Any) -> ChatGenerationChunk:
    message = to_langchain(chunk)
    _forget_run(message)
    generation = ChatGenerationChunk.__new__(ChatGenerationChunk)
    set_slots(
        generation, {**_PLAIN, "text": str(chunk.text), "message": message}, {"text", "message"}
    )
    return generation


def _message_id(run_manager: Any) -> str | None:
    """Return the id that LangChain gives the message of a run."""
    if run_manager is None:
        return None
    return f"{LC_ID_PREFIX}-{run_manager.run_id}"


def _forget_run(message: Any) -> None:
    """Remove an id that names a run of modelwire's, because LangChain's run sets its own."""
    if (message.id or "").startswith(LC_ID_PREFIX):
        message.id = None


_PLAIN: JSON = {
    name: field.default
    for name, field in ChatGenerationChunk.model_fields.items()
    if not field.is_required()
}
