"""Counts the tokens that models used, by model name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from modelwire.aliases import JSON, Values
from modelwire.callbacks.base import BaseCallbackHandler
from modelwire.callbacks.hooks import adding_handler

if TYPE_CHECKING:
    from modelwire.messages import UsageMetadata
    from modelwire.outputs import LLMResult

__all__ = ["UsageMetadataCallbackHandler", "get_usage_metadata_callback"]


class UsageMetadataCallbackHandler(BaseCallbackHandler):
    """Sums the usage of answers in `usage_metadata`: tokens by model name."""

    # An addition does not block.
    run_inline = True

    def __init__(self) -> None:
        self._lock = Lock()
        self.usage_metadata: dict[str, UsageMetadata] = {}

    def __repr__(self) -> str:
        return repr(self.usage_metadata)

    def on_chat_model_start(self, serialized: JSON, messages: Any, **kwargs: Any) -> None:
        """Do nothing: the end event has the usage."""

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Add the usage of an answer, if the answer has a usage and the name of its model."""
        for row in response.generations:
            for generation in row:
                message = getattr(generation, "message", None)
                usage = getattr(message, "usage_metadata", None)
                metadata = getattr(message, "response_metadata", None) or {}
                if usage and metadata.get("model_name"):
                    self._add(metadata["model_name"], usage, metadata)

    def _add(self, model: str, usage: UsageMetadata, metadata: Values) -> None:
        from modelwire.messages.ai import add_usage

        with self._lock:
            self.usage_metadata[model] = add_usage(self.usage_metadata.get(model), usage)


@contextmanager
def get_usage_metadata_callback(
    name: str = "usage_metadata_callback",
) -> Iterator[UsageMetadataCallbackHandler]:
    """Count the tokens of every model called inside the `with` block, also in tasks that the block starts.

    `name` is accepted for compatibility and has no effect.

    Example:
        with get_usage_metadata_callback() as usage:
            model.invoke("hi")
        print(usage.usage_metadata)
    """
    with adding_handler(UsageMetadataCallbackHandler()) as handler:
        yield handler
