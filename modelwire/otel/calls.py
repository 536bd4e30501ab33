"""The spans of calls: an observer makes a span for each call of a model, and records its events.

Calls are observed directly and not through a callback handler: for a handler, each call would need a manager of its
run, masked copies of its parameters and several deliveries, which take longer than the span itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from modelwire.aliases import Fields
from modelwire.ext import CallObserver, finish_reason_of
from modelwire.otel.attributes import (
    LEVEL,
    Facts,
    answer_attributes,
    embedding_attributes,
    encoding_formats,
    known,
    metadata_attributes,
    provider_name,
    request_attributes,
    usage_attributes,
)
from modelwire.otel.content import answers_json, captures, prompt_attributes
from modelwire.otel.metrics import Meters

if TYPE_CHECKING:
    from contextvars import Token

    from modelwire.errors import Attempt

_DEFAULT_PORTS = {"https": 443, "http": 80}
# The names of a provider's APIs by the ends of their URLs.
_API_TYPES = {"openai": {"/responses": "responses", "/chat/completions": "chat_completions"}}

Method = TypeVar("Method", bound=Callable[..., Any])

_log = logging.getLogger("modelwire.otel")


def end_span(span: Span, error: str | None) -> None:
    """End a span. `error` is the name of the error's class; its text is left out, because it may quote the prompt."""
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR, error))
    span.end()


def _harmless(method: Method) -> Method:
    """Wrap a method so that its errors, such as those of span processors, are logged and do not end the call."""

    @wraps(method)
    def guarded(*args: Any) -> Any:
        try:
            return method(*args)
        except Exception as error:  # noqa: BLE001 - the program's exporters and processors
            _log.warning("Error in %s of a span: %r", method.__name__, error)
        return None

    return cast("Method", guarded)


def _contains_word(content: bytes, word: str) -> bool:
    """Return whether JSON contains a word as a string, in lower or upper case."""
    return any(f'"{one}"'.encode() in content for one in (word, word.upper()))


@lru_cache(maxsize=256)
def _address(url: str, provider: str) -> Facts:
    """Return the attributes of a URL. The dict is cached, so callers must not change it."""
    address = urlsplit(url)
    port = address.port or _DEFAULT_PORTS.get(address.scheme, 443)
    facts = {"server.address": address.hostname or "", "server.port": port}
    for end, api in _API_TYPES.get(provider, {}).items():
        if address.path.endswith(end):
            facts["openai.api.type"] = api
    return facts


class _CallSpan(CallObserver):
    """Observes one call: its failed attempts, its waits and its first chunk become events of its span."""

    def __init__(self, span: Span, about: Facts, meters: Meters, *, with_earlier: bool) -> None:
        self.span = span
        # The attributes of its metrics.
        self.about = about
        # The span gets these attributes when it ends, because one call of OpenTelemetry is cheaper than three.
        self.facts: Facts = {}
        self.level: str | None = None
        self.has_content = False
        self.meters = meters
        self.with_earlier = with_earlier
        self.provider: str = about["gen_ai.provider.name"]
        self.is_inference = about["gen_ai.operation.name"] == "chat"
        self.started_s = monotonic()
        self._waits_since: float | None = None
        self._last_chunk_s: float | None = None
        self._attached: tuple[context.Context, Token[context.Context]] | None = None

    @_harmless
    def sent(self, exchange: Any) -> None:
        """Record the address of the request, and make the call's span the parent of the HTTP client's spans."""
        self._detach()
        address = _address(exchange.url, self.provider)
        self.facts |= address
        for name in ("server.address", "server.port"):
            self.about[name] = address[name]
        if exchange.is_stream:
            self.facts["gen_ai.request.stream"] = True
        # The level of reasoning is recorded only if the request contains it: not every model accepts one.
        if self.level is not None and _contains_word(exchange.content, self.level):
            self.facts[LEVEL] = self.level
        if not self.is_inference and (formats := encoding_formats(exchange.content)):
            self.facts["gen_ai.request.encoding_formats"] = formats
        own = trace.set_span_in_context(self.span)
        self._attached = own, context.attach(own)

    def _detach(self) -> None:
        """Make this span no longer the current one, unless another context is current."""
        attached = self._attached
        self._attached = None
        if attached is not None and context.get_current() is attached[0]:
            context.detach(attached[1])

    @_harmless
    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> None:
        """Record a failed attempt, or end the span of a call that failed."""
        self._detach()
        if attempt is not None:
            facts = {"error.type": attempt.error, "http.response.status_code": attempt.status}
            self.span.add_event("attempt failed", known(facts))
            return
        name = type(error).__qualname__
        if self._last_chunk_s is not None:
            # By the conventions, the finish reason of an answer that breaks off is `error`.
            self.facts["gen_ai.response.finish_reasons"] = ["error"]
        self._end({}, name)

    @_harmless
    def waiting(self, step: Any) -> None:
        if step is not None:
            self._waits_since = monotonic()
        elif self._waits_since is not None:
            self.span.add_event("waited", {"seconds": monotonic() - self._waits_since})

    @_harmless
    def chunk(self, chunk: Any) -> None:
        now_s = monotonic()
        last_s = self._last_chunk_s
        self._last_chunk_s = now_s
        if last_s is not None:
            self.meters.record_later_chunk(now_s - last_s, self.about)
            return
        self._detach()
        passed_s = now_s - self.started_s
        self.span.add_event("first chunk")
        self.facts["gen_ai.response.time_to_first_chunk"] = passed_s
        self.meters.record_first_chunk(passed_s, self.about)

    @_harmless
    def answered(self, result: Any) -> None:
        """End the span, with the reasons why the answers ended and the tokens of the call."""
        self._detach()
        messages = [one.message for one in result.generations]
        message = None
        if messages:
            message = messages[0]
        if message is not None:
            self.facts |= answer_attributes(message, self.provider)
        usage = getattr(message, "usage_metadata", None) or {}
        tokens = usage_attributes(usage, with_earlier=self.with_earlier)
        if not self.is_inference:
            tokens.pop("gen_ai.usage.output_tokens", None)
        else:
            reasons = [reason for one in messages if (reason := finish_reason_of(one)) is not None]
            if reasons:
                self.facts["gen_ai.response.finish_reasons"] = reasons
            if self.has_content:
                answers = answers_json(messages, with_reasons=self.with_earlier)
                self.facts["gen_ai.output.messages"] = answers
        if "gen_ai.response.model" in self.facts:
            self.about["gen_ai.response.model"] = self.facts["gen_ai.response.model"]
        self.facts |= tokens
        self._end(tokens, None)

    def _end(self, tokens: Fields, error: str | None) -> None:
        passed_s = monotonic() - self.started_s
        self.span.set_attributes(self.facts)
        end_span(self.span, error)
        about = self.about
        if error is not None:
            about = {**about, "error.type": error}
        self.meters.record_call(passed_s, about, is_inference=self.is_inference)
        if self.is_inference:
            self.meters.record_tokens(tokens, self.about, error)


class CallSpans(CallObserver):
    """Starts the span of each call, `chat {model}` or `embeddings {model}`, below the span of the run around it."""

    def __init__(
        self,
        tracer: Tracer,
        meters: Meters,
        spans: Mapping[UUID | None, Span],
        *,
        with_earlier: bool,
    ) -> None:
        self.tracer = tracer
        self.meters = meters
        # The open spans of chains, tools and retrievers, by the ids of their runs.
        self.spans = spans
        self.with_earlier = with_earlier

    @_harmless
    def call_started(self, call: Any) -> CallObserver | None:
        described = call.described()
        model = str(described.get("ls_model_name") or "")
        is_embedding = described.get("ls_model_type") == "embeddings"
        named = {
            "gen_ai.operation.name": "embeddings" if is_embedding else "chat",
            "gen_ai.provider.name": provider_name(str(described.get("ls_provider") or "unknown")),
        }
        title = named["gen_ai.operation.name"]
        if model:
            named["gen_ai.request.model"] = model
            title = f"{title} {model}"
        parent = self.spans.get(call.parent_run_id)
        within = None
        if parent is not None:
            within = trace.set_span_in_context(parent)
        span = self.tracer.start_span(title, within, SpanKind.CLIENT, named)
        observer = _CallSpan(span, named, self.meters, with_earlier=self.with_earlier)
        if span.is_recording():
            if is_embedding:
                observer.facts = embedding_attributes(call.messages)
            else:
                _describe(observer, call, described.get("ls_stop"))
        return observer


def _describe(observer: _CallSpan, call: Any, stop: Any) -> None:
    """Set the attributes that are known when a chat call starts."""
    params = call.parameters()
    facts = observer.facts = request_attributes(params, stop, observer.provider)
    observer.level = facts.pop(LEVEL, None)
    metadata = call.metadata
    if metadata:
        # An id of the conversation among the parameters wins over one in the metadata.
        facts |= metadata_attributes(metadata) | facts
    observer.has_content = captures()
    if observer.has_content:
        facts |= prompt_attributes(call.messages, params)
