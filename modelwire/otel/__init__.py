"""OpenTelemetry: a span for each call of a model and what is around it, and metrics, under the GenAI conventions.

    modelwire.otel.instrument()        # or: opentelemetry-instrument python app.py

Needs `modelwire[otel]`; which exporter and sampler there are, the program's SDK says. Nothing here is loaded before.
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
    """Stands where `register_configure_hook` takes a context variable: its handler is in every context."""

    handler: Spans | None = None

    def get(self, default: Any = None) -> Any:
        return self.handler or default


_everywhere: Any = _Everywhere()
# Closed, it ends the observation of calls.
_observation = ExitStack()


def instrument(*, tracer_provider: Any = None, meter_provider: Any = None) -> None:
    """Make a span of every call from now on, with the global providers or these; again: with the new ones.

    Names that the conventions have changed are written in both forms;
    `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental`, read here, leaves out the old ones.
    """
    uninstrument()
    spans = _everywhere.handler = Spans(tracer_provider, meter_provider)
    register_configure_hook(_everywhere, inheritable=True)
    _observation.enter_context(observing(spans.calls, everywhere=True))


def uninstrument() -> None:
    """Make no more spans; those of calls that are under way end with them."""
    _everywhere.handler = None
    _observation.close()


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
