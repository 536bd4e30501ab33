"""OpenTelemetry: spans for calls of models and for chains, tools and retrievers, and metrics, by the GenAI conventions.

    modelwire.otel.instrument()        # or: opentelemetry-instrument python app.py

Needs `modelwire[otel]`. The program configures exporters and samplers in OpenTelemetry's SDK.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from modelwire.callbacks import BaseCallbackHandler, register_configure_hook
from modelwire.ext import observing
from modelwire.otel.content import CAPTURE
from modelwire.otel.spans import Spans

__all__ = ["CAPTURE", "BaseCallbackHandler", "ModelwireInstrumentor", "instrument", "uninstrument"]


class _Everywhere:
    """Replaces the context variable that `register_configure_hook` needs: every context gets the same handler."""

    handler: Spans | None = None

    def get(self, default: Any = None) -> Any:
        return self.handler or default


_everywhere: Any = _Everywhere()
# Closing this stack ends the observation of calls.
_observation = ExitStack()


def instrument(*, tracer_provider: Any = None, meter_provider: Any = None) -> None:
    """Make a span of every run from now on, with these providers or OpenTelemetry's global ones.

    A second call replaces the providers. Names that the conventions have changed are written in both forms; if
    `OTEL_SEMCONV_STABILITY_OPT_IN` has `gen_ai_latest_experimental` at this moment, the old ones are left out.
    """
    uninstrument()
    spans = _everywhere.handler = Spans(tracer_provider, meter_provider)
    register_configure_hook(_everywhere, inheritable=True)
    _observation.enter_context(observing(spans.calls, everywhere=True))


def uninstrument() -> None:
    """Make no more spans. The spans of calls in progress end with their calls."""
    _everywhere.handler = None
    _observation.close()


class ModelwireInstrumentor:
    """The class that `opentelemetry-instrument` finds by the entry point `opentelemetry_instrumentor`."""

    def instrument(self, **kwargs: Any) -> None:
        """Call `instrument` with the providers among `kwargs`."""
        instrument(
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
        )

    def uninstrument(self, **kwargs: Any) -> None:
        """Call `uninstrument`."""
        uninstrument()
