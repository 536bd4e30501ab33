"""The metrics of calls and tools, under the latest names of the GenAI conventions and, if wanted, the earlier names.

Names: https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md at 024a4f94,
gen-ai-token-metrics.md at 066d4a7f, non-normative/migration.md at 32c328e8, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import metrics

from modelwire import __version__
from modelwire.aliases import Fields

# Upper bounds of the histograms in seconds and in tokens, as the conventions recommend.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**power) for power in range(14))
_COUNTERS = (
    "input_tokens",
    "output_tokens",
    "cache_read.input_tokens",
    "cache_write.input_tokens",
    "reasoning.output_tokens",
)
# These two totals also have histograms; the other counts are parts of them.
_TOTALS = _COUNTERS[:2]
# The types of tokens in the earlier histogram, by the attributes that replace them.
_EARLIER_TYPES = {"gen_ai.usage.input_tokens": "input", "gen_ai.usage.output_tokens": "output"}
# Providers do not report all tokens by modality.
_MODALITY = {"gen_ai.token.modality": "unknown"}


class Meters:
    """The instruments that measure calls and tools. `with_earlier` adds those with the names up to 1.41."""

    def __init__(self, provider: Any, *, with_earlier: bool) -> None:
        meter = metrics.get_meter("modelwire", __version__, provider)

        def histogram(name: str, unit: str, text: str, bounds: Sequence[float]) -> Any:
            return meter.create_histogram(
                name, unit, text, explicit_bucket_boundaries_advisory=bounds
            )

        def tokens(name: str) -> Any:
            return histogram(name, "{token}", "Tokens of a call.", _TOKENS)

        def seconds(name: str, text: str) -> Any:
            return histogram(name, "s", text, _SECONDS)

        self.inference_s = [seconds("gen_ai.client.inference.duration", "How long a call took.")]
        first = "From a call's start to its first chunk."
        self.first_s = [seconds("gen_ai.client.inference.time_to_first_chunk", first)]
        later = "From the end of a chunk to the end of the next one."
        self.later_s = [seconds("gen_ai.client.inference.time_per_output_chunk", later)]
        self.operation_s = seconds("gen_ai.client.operation.duration", "How long a call took.")
        self.tool_s = seconds("gen_ai.execute_tool.duration", "How long a tool ran.")
        # For each kind of tokens: its attribute in a span, its counter, and the histogram of a total or None.
        self.tokens: list[tuple[str, Any, Any]] = []
        for name in _COUNTERS:
            counter = meter.create_counter(
                f"gen_ai.client.inference.usage.{name}", "{token}", "Tokens of calls."
            )
            of_total = None
            if name in _TOTALS:
                of_total = tokens(f"gen_ai.client.inference.operation.{name}")
            self.tokens.append((f"gen_ai.usage.{name}", counter, of_total))
        self.earlier_tokens: Any = None
        if with_earlier:
            self.inference_s.append(self.operation_s)
            self.first_s.append(
                seconds("gen_ai.client.operation.time_to_first_chunk", first),
            )
            self.later_s.append(
                seconds("gen_ai.client.operation.time_per_output_chunk", later),
            )
            self.earlier_tokens = tokens("gen_ai.client.token.usage")

    def record_first_chunk(self, passed_s: float, about: Fields) -> None:
        for one in self.first_s:
            one.record(passed_s, about)

    def record_later_chunk(self, passed_s: float, about: Fields) -> None:
        for one in self.later_s:
            one.record(passed_s, about)

    def record_call(self, passed_s: float, about: Fields, *, is_inference: bool) -> None:
        """Record how long a call took. A call without inference (embeddings) has only the general metric."""
        for one in self.inference_s if is_inference else [self.operation_s]:
            one.record(passed_s, about)

    def record_tokens(self, usage: Fields, about: Fields, error: str | None) -> None:
        """Record the tokens of a call by the attributes of its usage; missing totals count as 0.

        A part that is 0 is not added to its counter: that would cost each call as much time as its span.
        """
        counted = {**about, **_MODALITY}
        if error is not None:
            about = {**about, "error.type": error}
        for name, counter, histogram in self.tokens:
            count = usage.get(name, 0)
            if count or histogram is not None:
                counter.add(count, counted)
            if histogram is not None:
                histogram.record(count, about)
        if self.earlier_tokens is None:
            return
        for name, kind in _EARLIER_TYPES.items():
            tokens = usage.get(name)
            if tokens is not None:
                self.earlier_tokens.record(tokens, {**about, "gen_ai.token.type": kind})
