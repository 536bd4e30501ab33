"""The spans: a callback handler makes one of every run, and an observer of its call records what happens to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from modelwire import __version__
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import MissingDependency
from modelwire.ext import CallObserver, finish_reason_of
from modelwire.otel.attributes import (
    answer_attributes,
    conversation_id,
    embedding_attributes,
    known,
    provider_name,
    request_attributes,
    tool_attributes,
    usage_attributes,
)
from modelwire.otel.content import answers_json, captures, prompt_attributes, value_json

try:
    from opentelemetry import context, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode

    from modelwire.otel.metrics import Meters
except ImportError as exc:
    raise MissingDependency(
        'Spans need opentelemetry-api: `pip install "modelwire[otel]"`.'
    ) from exc

if TYPE_CHECKING:
    from contextvars import Token

    from modelwire.errors import Attempt
    from modelwire.transport.steps import Exchange, Sleep, Wait

__all__ = ["Spans"]

# The list of conventions of which a program wants the latest names alone:
# https://opentelemetry.io/docs/specs/semconv/gen-ai/, read 2026-11.
OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST = "gen_ai_latest_experimental"
DEFAULT_PORTS = {"https": 443, "http": 80}
# The names of a provider's APIs by the ends of their addresses.
API_TYPES = {"openai": {"/responses": "responses", "/chat/completions": "chat_completions"}}


LEVEL = "gen_ai.request.reasoning.level"


def _contains_word(content: bytes, word: str) -> bool:
    """Return whether JSON has a text, in small or capital letters."""
    return any(f'"{one}"'.encode() in content for one in (word, word.upper()))


def _wants_earlier_names() -> bool:
    return LATEST not in [one.strip() for one in os.environ.get(OPT_IN, "").split(",")]


@lru_cache(maxsize=256)
def _address(url: str) -> tuple[dict[str, Any], str]:
    """Return the attributes of a URL, which callers do not change, and its path."""
    address = urlsplit(url)
    port = address.port or DEFAULT_PORTS.get(address.scheme, 443)
    return {"server.address": address.hostname or "", "server.port": port}, address.path


class _ModelSpan(CallObserver):
    """The span of one call of a model: its attempts, waits and first chunk are events of it."""

    def __init__(
        self,
        span: Span,
        about: dict[str, Any],
        meters: Meters,
        *,
        with_earlier: bool,
        has_content: bool,
        level: str | None,
    ) -> None:
        self.span = span
        self.about = about  # what its metrics say, too
        self.meters = meters
        self.with_earlier = with_earlier
        self.has_content = has_content
        self.is_inference = about["gen_ai.operation.name"] == "chat"
        self.level = level
        self.api_types = API_TYPES.get(about["gen_ai.provider.name"], {})
        self.started_s = monotonic()
        self._waits_since: float | None = None
        self._has_chunk = False
        self._attached: tuple[context.Context, Token[context.Context]] | None = None

    def sent(self, exchange: Exchange[Any, Any]) -> None:
        """Record the address of the request, and make the call's span the parent of the HTTP client's spans."""
        self.detach()
        facts, path = _address(exchange.url)
        self.about |= facts
        if exchange.is_stream:
            facts = {**facts, "gen_ai.request.stream": True}
        for end, api in self.api_types.items():
            if path.endswith(end):
                facts = {**facts, "openai.api.type": api}
        level = self.level
        if level is not None and _contains_word(exchange.content, level):
            facts = {**facts, LEVEL: level}
        self.span.set_attributes(facts)
        own = trace.set_span_in_context(self.span)
        self._attached = own, context.attach(own)

    def detach(self) -> None:
        """Be no longer the current span; where this is another context, it is not."""
        attached, self._attached = self._attached, None
        if attached is not None and context.get_current() is attached[0]:
            context.detach(attached[1])

    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> None:
        self.detach()
        if attempt is not None:
            facts = {"error.type": attempt.error, "http.response.status_code": attempt.status}
            self.span.add_event("attempt failed", known(facts))

    def waiting(self, step: Sleep | Wait | None) -> None:
        if step is not None:
            self._waits_since = monotonic()
        elif self._waits_since is not None:
            self.span.add_event("waited", {"seconds": monotonic() - self._waits_since})

    def chunk(self, chunk: Any) -> None:
        if self._has_chunk:
            return
        self._has_chunk = True
        self.detach()
        passed_s = monotonic() - self.started_s
        self.span.add_event("first chunk")
        self.span.set_attribute("gen_ai.response.time_to_first_chunk", passed_s)
        self.meters.record_first_chunk(passed_s, self.about)

    def answered(self, result: Any) -> None:
        self.detach()

    def end(self, messages: Sequence[Any]) -> None:
        """Record the reasons why the answers ended, and the tokens of the call."""
        message = messages[0] if messages else None
        reasons = [reason for one in messages if (reason := finish_reason_of(one)) is not None]
        facts = answer_attributes(message, reasons, self.about["gen_ai.provider.name"])
        usage = getattr(message, "usage_metadata", None) or {}
        tokens = usage_attributes(usage, with_earlier=self.with_earlier)
        if not self.is_inference:
            facts.pop("gen_ai.response.finish_reasons", None)
            tokens.pop("gen_ai.usage.output_tokens", None)
        elif self.has_content:
            answers = answers_json(messages, with_reasons=self.with_earlier)
            facts["gen_ai.output.messages"] = answers
        self.span.set_attributes(facts | tokens)
        if "gen_ai.response.model" in facts:
            self.about["gen_ai.response.model"] = facts["gen_ai.response.model"]
        self._measure(tokens, None)

    def fail(self, error: BaseException) -> None:
        """Record what is measured of a call that failed."""
        if self._has_chunk:
            # The conventions report `error` for an answer that has begun and has no end.
            self.span.set_attribute("gen_ai.response.finish_reasons", ["error"])
        self._measure({}, type(error).__qualname__)

    def _measure(self, tokens: Mapping[str, Any], error: str | None) -> None:
        about = self.about
        if error is not None:
            about = {**about, "error.type": error}
        passed_s = monotonic() - self.started_s
        self.meters.record_call(passed_s, about, is_inference=self.is_inference)
        if self.is_inference:
            self.meters.record_tokens(tokens, self.about, error)


class Spans(BaseCallbackHandler):
    """Makes a span of every run: `chat {model}`, `execute_tool {name}`, and chains and retrievers by their names."""

    run_inline = True  # in the caller's context, where the span around it is

    def __init__(self, tracer_provider: Any, meter_provider: Any) -> None:
        self.with_earlier = _wants_earlier_names()
        self.tracer = trace.get_tracer("modelwire", __version__, tracer_provider)
        self.meters = Meters(meter_provider, with_earlier=self.with_earlier)
        self.spans: dict[UUID, Span] = {}
        self.calls: dict[UUID, _ModelSpan] = {}
        # The start and the name of each tool under way.
        self.tools: dict[UUID, tuple[float, str]] = {}

    def call_observer(self, run_id: UUID) -> CallObserver | None:
        return self.calls.get(run_id)

    def _open(
        self,
        name: str,
        run_id: UUID,
        parent_run_id: UUID | None,
        attributes: dict[str, Any],
        kind: SpanKind,
    ) -> Span:
        parent = self.spans.get(parent_run_id) if parent_run_id is not None else None
        within = None if parent is None else trace.set_span_in_context(parent)
        span = self.spans[run_id] = self.tracer.start_span(name, within, kind, attributes)
        return span

    def _close(self, run_id: UUID, error: str | None = None) -> None:
        span = self.spans.pop(run_id, None)
        if span is None:
            return
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR, error))  # its words may be the prompt's
        span.end()

    def _close_tool(self, run_id: UUID, error: str | None) -> None:
        started_s, name = self.tools.pop(run_id, (None, ""))
        if started_s is not None:
            about = known({"gen_ai.tool.name": name, "error.type": error})
            self.meters.tool_s.record(monotonic() - started_s, about)
        self._close(run_id, error)

    if not TYPE_CHECKING:  # type checkers see the base's signatures

        def on_chat_model_start(
            self,
            serialized,
            messages,
            *,
            run_id,
            parent_run_id=None,
            metadata=None,
            invocation_params=None,
            **about,
        ):
            metadata, params = metadata or {}, invocation_params or {}
            model = str(metadata.get("ls_model_name") or "")
            provider = provider_name(str(metadata.get("ls_provider") or "unknown"))
            is_embedding = metadata.get("ls_model_type") == "embeddings"
            operation = "embeddings" if is_embedding else "chat"
            named = {"gen_ai.operation.name": operation, "gen_ai.provider.name": provider}
            if model:
                named["gen_ai.request.model"] = model
            prompt = [message for row in messages for message in row]
            has_content = captures() and not is_embedding
            if is_embedding:
                facts = embedding_attributes(prompt)
            else:
                facts = request_attributes(params, metadata.get("ls_stop"), provider)
                conversation = conversation_id(metadata)
                if conversation is not None:
                    facts.setdefault("gen_ai.conversation.id", conversation)
                if has_content:
                    facts |= prompt_attributes(prompt, params)
            # Whether the model takes a level, and under which word, is known when the request is sent.
            level = facts.pop(LEVEL, None)
            title = f"{operation} {model}".strip()
            span = self._open(title, run_id, parent_run_id, named | facts, SpanKind.CLIENT)
            self.calls[run_id] = _ModelSpan(
                span,
                named,
                self.meters,
                with_earlier=self.with_earlier,
                has_content=has_content,
                level=level,
            )

        def on_llm_end(self, response, *, run_id, **about):
            call = self.calls.pop(run_id, None)
            if call is not None:
                messages = [
                    one.message
                    for row in response.generations
                    for one in row
                    if hasattr(one, "message")
                ]
                call.end(messages)
            self._close(run_id)

        def on_llm_error(self, error, *, run_id, **about):
            call = self.calls.pop(run_id, None)
            if call is not None:
                call.fail(error)
            self._close(run_id, type(error).__qualname__)

        def on_tool_start(
            self,
            serialized,
            input_str,
            *,
            run_id,
            parent_run_id=None,
            metadata=None,
            name=None,
            tool_call_id=None,
            inputs=None,
            **about,
        ):
            about_tool = serialized or {}
            name = name or about_tool.get("name") or "tool"
            description = about_tool.get("description")
            facts = tool_attributes(name, description, tool_call_id, metadata or {})
            if captures():
                arguments = input_str if inputs is None else inputs
                facts["gen_ai.tool.call.arguments"] = value_json(arguments)
            self._open(f"execute_tool {name}", run_id, parent_run_id, facts, SpanKind.INTERNAL)
            self.tools[run_id] = monotonic(), name

        def on_tool_end(self, output, *, run_id, **about):
            span = self.spans.get(run_id)
            if span is not None and captures():
                result = getattr(output, "content", output)
                span.set_attribute("gen_ai.tool.call.result", value_json(result))
            # The tool has reported its error to the model.
            is_error = getattr(output, "status", None) == "error"
            self._close_tool(run_id, "tool_error" if is_error else None)

        def on_tool_error(self, error, *, run_id, **about):
            self._close_tool(run_id, type(error).__qualname__)

        def on_chain_start(
            self, serialized, inputs, *, run_id, parent_run_id=None, name=None, **about
        ):
            self._open(name or "chain", run_id, parent_run_id, {}, SpanKind.INTERNAL)

        def on_retriever_start(
            self, serialized, query, *, run_id, parent_run_id=None, name=None, **about
        ):
            self._open(name or "retriever", run_id, parent_run_id, {}, SpanKind.INTERNAL)

        def _ended(self, output, *, run_id, **about):
            self._close(run_id)

        def _failed(self, error, *, run_id, **about):
            self._close(run_id, type(error).__qualname__)

        on_chain_end = on_retriever_end = _ended
        on_chain_error = on_retriever_error = _failed
