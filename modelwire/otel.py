"""OpenTelemetry: a span for each call of a model and what is around it, and metrics, under the GenAI conventions.

    modelwire.otel.instrument()        # or: opentelemetry-instrument python app.py

Needs `modelwire[otel]`; which exporter and sampler there are, the program's SDK says. Nothing here is loaded before.
Names: https://opentelemetry.io/docs/specs/semconv/gen-ai/, read 2026-11.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from modelwire import __version__
from modelwire.callbacks import BaseCallbackHandler, register_configure_hook
from modelwire.errors import MissingDependency
from modelwire.ext import CallObserver, finish_reason_of, names_of

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ImportError as exc:
    raise MissingDependency(
        'Spans need opentelemetry-api: `pip install "modelwire[otel]"`.'
    ) from exc

if TYPE_CHECKING:
    from contextvars import Token

    from modelwire.errors import Attempt
    from modelwire.transport.steps import Exchange, Sleep, Wait

__all__ = ["ModelwireInstrumentor", "instrument", "uninstrument"]

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"  # "true": prompts and answers go into spans
PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "n": "choice.count",
}
# Upper bounds of the histograms, as the conventions advise: seconds, tokens.
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(float(4**power) for power in range(14))


class _Meters:
    """What is measured of calls, beside their spans."""

    def __init__(self, provider: Any) -> None:
        meter = metrics.get_meter("modelwire", __version__, provider)

        def histogram(name: str, unit: str, says: str, bounds: Sequence[float]) -> Any:
            return meter.create_histogram(
                name, unit, says, explicit_bucket_boundaries_advisory=bounds
            )

        self.seconds = histogram(
            "gen_ai.client.operation.duration", "s", "How long a call took.", SECONDS
        )
        self.tokens = histogram("gen_ai.client.token.usage", "{token}", "Tokens of a call.", TOKENS)
        self.first_s = histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "From a call's start to its first chunk.",
            SECONDS,
        )


class _ModelSpan(CallObserver):
    """The span of one call of a model: its attempts, waits and first chunk are events of it."""

    def __init__(self, span: Span, about: dict[str, Any], meters: _Meters) -> None:
        self.span = span
        self.about = about  # what its metrics say, too
        self.meters = meters
        self.started_s = monotonic()
        self._waits_since: float | None = None
        self._has_chunk = False
        self._attached: tuple[context.Context, Token[context.Context]] | None = None

    def sent(self, exchange: Exchange[Any, Any]) -> None:
        """Record the address of the request, and make the call's span the parent of the HTTP client's spans."""
        self.detach()
        address = urlsplit(exchange.url)
        self.about["server.address"] = address.hostname or ""
        if address.port is not None:
            self.about["server.port"] = address.port
        self.span.set_attributes(self.about)
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
            self.span.add_event("attempt failed", _known(facts))

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
        self.span.add_event("first chunk")
        self.meters.first_s.record(monotonic() - self.started_s, self.about)

    def answered(self, result: Any) -> None:
        self.detach()

    def end(self, message: Any, reasons: Sequence[str]) -> None:
        """Record the reasons why the answer ended, and the tokens it used."""
        about = getattr(message, "response_metadata", None) or {}
        usage = getattr(message, "usage_metadata", None) or {}
        into, out = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
        self.span.set_attributes(
            _known(
                {
                    "gen_ai.response.model": about.get("model_name"),
                    "gen_ai.response.id": about.get("id"),
                    "gen_ai.response.finish_reasons": list(reasons) or None,
                    "gen_ai.usage.input_tokens": usage.get("input_tokens"),
                    "gen_ai.usage.output_tokens": usage.get("output_tokens"),
                    "gen_ai.usage.cache_read.input_tokens": into.get("cache_read"),
                    "gen_ai.usage.cache_creation.input_tokens": into.get("cache_creation"),
                    "gen_ai.usage.reasoning.output_tokens": out.get("reasoning"),
                }
            )
        )
        if about.get("model_name"):
            self.about["gen_ai.response.model"] = about["model_name"]
        for kind in ("input", "output"):
            if (tokens := usage.get(f"{kind}_tokens")) is not None:
                self.meters.tokens.record(tokens, {**self.about, "gen_ai.token.type": kind})


class _Spans(BaseCallbackHandler):
    """Makes a span of every run: `chat {model}`, `execute_tool {name}`, and chains and retrievers by their names."""

    run_inline = True  # in the caller's context, where the span around it is

    def __init__(self, tracer_provider: Any, meter_provider: Any) -> None:
        self.tracer = trace.get_tracer("modelwire", __version__, tracer_provider)
        self.meters = _Meters(meter_provider)
        self.spans: dict[UUID, Span] = {}
        self.calls: dict[UUID, _ModelSpan] = {}

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

    def _close(self, run_id: UUID, error: BaseException | None = None) -> None:
        span = self.spans.pop(run_id, None)
        if span is None:
            return
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(
                Status(StatusCode.ERROR, type(error).__name__)
            )  # its words may be the prompt's
        span.end()

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
            model, provider = (
                str(metadata.get("ls_model_name") or ""),
                str(metadata.get("ls_provider") or "unknown"),
            )
            stop = metadata.get("ls_stop")
            named = {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": names_of(provider).traces or provider,
            }
            named |= {"gen_ai.request.model": model} if model else {}
            requested = {
                f"gen_ai.request.{theirs}": params.get(ours) for ours, theirs in PARAMETERS.items()
            }
            requested["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else stop
            if _captures():
                requested["gen_ai.input.messages"] = _messages_json(
                    [message for row in messages for message in row]
                )
            title = f"chat {model}" if model else "chat"
            span = self._open(
                title, run_id, parent_run_id, {**named, **_known(requested)}, SpanKind.CLIENT
            )
            self.calls[run_id] = _ModelSpan(span, named, self.meters)

        def on_llm_end(self, response, *, run_id, **about):
            call = self.calls.pop(run_id, None)
            if call is not None:
                messages = [
                    one.message
                    for row in response.generations
                    for one in row
                    if hasattr(one, "message")
                ]
                reasons = [
                    reason
                    for message in messages
                    if (reason := finish_reason_of(message)) is not None
                ]
                call.end(messages[0] if messages else None, reasons)
                if _captures():
                    call.span.set_attribute("gen_ai.output.messages", _messages_json(messages))
                self.meters.seconds.record(monotonic() - call.started_s, call.about)
            self._close(run_id)

        def on_llm_error(self, error, *, run_id, **about):
            call = self.calls.pop(run_id, None)
            if call is not None:
                failed = {**call.about, "error.type": type(error).__qualname__}
                self.meters.seconds.record(monotonic() - call.started_s, failed)
            self._close(run_id, error)

        def on_tool_start(
            self,
            serialized,
            input_str,
            *,
            run_id,
            parent_run_id=None,
            name=None,
            tool_call_id=None,
            inputs=None,
            **about,
        ):
            name = name or (serialized or {}).get("name") or "tool"
            facts = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
            facts["gen_ai.tool.call.id"] = tool_call_id
            if _captures():
                facts["gen_ai.tool.call.arguments"] = str(input_str if inputs is None else inputs)
            self._open(
                f"execute_tool {name}", run_id, parent_run_id, _known(facts), SpanKind.INTERNAL
            )

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
            self._close(run_id, error)

        on_chain_end = on_tool_end = on_retriever_end = _ended
        on_chain_error = on_tool_error = on_retriever_error = _failed


class _Everywhere:
    """Stands where `register_configure_hook` takes a context variable: its handler is in every context."""

    handler: _Spans | None = None

    def get(self, default: Any = None) -> Any:
        return self.handler or default


_everywhere: Any = _Everywhere()


def instrument(*, tracer_provider: Any = None, meter_provider: Any = None) -> None:
    """Make a span of every call from now on, with the global providers or these; again: with the new ones."""
    _everywhere.handler = _Spans(tracer_provider, meter_provider)
    register_configure_hook(_everywhere, inheritable=True)


def uninstrument() -> None:
    """Make no more spans; those of calls that are under way end with them."""
    _everywhere.handler = None


class ModelwireInstrumentor:
    """What `opentelemetry-instrument` finds by the entry point `opentelemetry_instrumentor`."""

    def instrument(self, **kwargs: Any) -> None:
        """Call `instrument` with the providers among `kwargs`."""
        instrument(
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
        )

    def uninstrument(self, **kwargs: Any) -> None:
        """Call `uninstrument`."""
        uninstrument()


def _captures() -> bool:
    return os.environ.get(CAPTURE, "").lower() in ("true", "1", "span_only", "span_and_event")


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _messages_json(messages: Sequence[Any]) -> str:
    """Write messages as the conventions have them in an attribute: JSON of roles and parts."""
    from pydantic_core import to_json

    roles = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
    shown: list[dict[str, Any]] = []
    for message in messages:
        calls = [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            for call in getattr(message, "tool_calls", ())
        ]
        parts = [{"type": "text", "content": str(message.text)}, *calls]
        one: dict[str, Any] = {"role": roles.get(message.type, message.type), "parts": parts}
        reason = finish_reason_of(message)
        shown.append({**one, "finish_reason": reason} if reason else one)
    return to_json(shown).decode()
