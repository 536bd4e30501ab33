"""The spans of chains, tools and retrievers: a callback handler makes one for each run. For models see `calls.py`."""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from modelwire import __version__
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import MissingDependency
from modelwire.otel.attributes import Facts, known, tool_attributes
from modelwire.otel.content import captures, value_json

try:
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanKind

    from modelwire.otel.calls import CallSpans, end_span
    from modelwire.otel.metrics import Meters
except ImportError as exc:
    raise MissingDependency(
        'Spans need opentelemetry-api: `pip install "modelwire[otel]"`.'
    ) from exc

# This variable lists the conventions of which a program wants only the latest names:
# https://opentelemetry.io/docs/specs/semconv/gen-ai/, read 2026-11.
_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
_LATEST = "gen_ai_latest_experimental"


def _wants_earlier_names() -> bool:
    return _LATEST not in [one.strip() for one in os.environ.get(_OPT_IN, "").split(",")]


class Spans(BaseCallbackHandler):
    """Makes a span for each run but those of models: `execute_tool {name}`, or the name of the chain or retriever."""

    run_inline = (
        True  # The handler runs in the caller's context, which has the span around the run.
    )
    # `calls` makes the spans of models.
    ignore_llm = ignore_chat_model = ignore_retry = True

    def __init__(self, tracer_provider: Any, meter_provider: Any) -> None:
        with_earlier = _wants_earlier_names()
        self.tracer = trace.get_tracer("modelwire", __version__, tracer_provider)
        self.meters = Meters(meter_provider, with_earlier=with_earlier)
        self.spans: dict[UUID | None, Span] = {}
        self.calls = CallSpans(self.tracer, self.meters, self.spans, with_earlier=with_earlier)
        # The start (of `monotonic`) and the name of each running tool.
        self.tools: dict[UUID, tuple[float, str]] = {}

    def _open(self, name: str, run_id: UUID, parent_run_id: UUID | None, attributes: Facts) -> None:
        parent = self.spans.get(parent_run_id)
        within = None
        if parent is not None:
            within = trace.set_span_in_context(parent)
        span = self.tracer.start_span(name, within, SpanKind.INTERNAL, attributes)
        self.spans[run_id] = span

    def _close(self, run_id: UUID, error: str | None = None) -> None:
        span = self.spans.pop(run_id, None)
        if span is not None:
            end_span(span, error)

    def _close_tool(self, run_id: UUID, error: str | None) -> None:
        started_s, name = self.tools.pop(run_id, (None, ""))
        if started_s is not None:
            about = known({"gen_ai.tool.name": name, "error.type": error})
            self.meters.tool_s.record(monotonic() - started_s, about)
        self._close(run_id, error)

    if not TYPE_CHECKING:  # Type checkers see the signatures of the base class.

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
                arguments = input_str
                if inputs is not None:
                    arguments = inputs
                facts["gen_ai.tool.call.arguments"] = value_json(arguments)
            self._open(f"execute_tool {name}", run_id, parent_run_id, facts)
            self.tools[run_id] = monotonic(), name

        def on_tool_request(self, facts, *, run_id, **about):
            span = self.spans.get(run_id)
            if span is not None:
                span.set_attributes(facts)

        def on_tool_end(self, output, *, run_id, **about):
            span = self.spans.get(run_id)
            if span is not None and captures():
                result = getattr(output, "content", output)
                span.set_attribute("gen_ai.tool.call.result", value_json(result))
            kind = None
            if getattr(output, "status", None) == "error":
                kind = "tool_error"  # The tool has reported its error to the model.
            self._close_tool(run_id, kind)

        def on_tool_error(self, error, *, run_id, **about):
            self._close_tool(run_id, type(error).__qualname__)

        def on_chain_start(
            self, serialized, inputs, *, run_id, parent_run_id=None, name=None, **about
        ):
            self._open(name or "chain", run_id, parent_run_id, {})

        def on_retriever_start(
            self, serialized, query, *, run_id, parent_run_id=None, name=None, **about
        ):
            self._open(name or "retriever", run_id, parent_run_id, {})

        def _ended(self, output, *, run_id, **about):
            self._close(run_id)

        def _failed(self, error, *, run_id, **about):
            self._close(run_id, type(error).__qualname__)

        on_chain_end = on_retriever_end = _ended
        on_chain_error = on_retriever_error = _failed
