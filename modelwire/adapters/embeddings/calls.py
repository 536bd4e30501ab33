"""`EmbeddingCalls`: makes the class of a chat model call the embeddings API of the same provider.

Only the codec is replaced. The chat model's class handles credentials, address, rate limits, retries, observers and
connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.embeddings.codec import EmbeddingCodec, pack_of
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall, Codec
    from modelwire.messages import BaseMessage


class EmbeddingCalls:
    """A mixin before the class of a chat model. The input of a call is a `Pack`, and its answer contains vectors."""

    if TYPE_CHECKING:
        provider: str

        def _wire(self) -> Any: ...

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        """Return the class of the codec for a call."""
        raise NotImplementedError

    def _codec(self, call: ChatCall) -> Codec:
        errors: Codec = self._wire().codec(self.provider)
        return self._codec_class(call)(self.provider, str(call.model), pack_of(call), errors)

    def _messages(self, input: Any) -> list[BaseMessage]:
        return [input.message()]

    @property
    def _llm_type(self) -> str:
        return f"{self.provider}-embeddings"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> JSON:
        """Return the metadata of a call for LangSmith's tracers."""
        named: dict[str, Any] = super()._get_ls_params(stop, **kwargs)  # type: ignore[misc]
        return {**named, "ls_model_type": "embeddings"}

    def __reduce_ex__(self, protocol: Any) -> Any:
        return object.__reduce_ex__(self, protocol)
