"""The codec of Anthropic's models on Vertex AI: the Messages API with the model in the URL. No I/O here.

Wire format: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.adapters.wires.wire import path_segment
from modelwire.errors import NotFound, and_said
from modelwire.messages.block_translators.standard import without

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.errors import ChatError
    from modelwire.transport.wire import Reply, WireRequest

_VERSION = "vertex-2023-10-16"
_MODELS = "https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude"


class VertexMessagesCodec(MessagesCodec):
    """The codec for the address of a Google Cloud project: `.../publishers/anthropic/models/MODEL:rawPredict`."""

    __slots__ = ()

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call in Anthropic's form, with Google's address."""
        request = super().encode(call)
        body = {"anthropic_version": _VERSION, **without(request.body, "model")}
        method = "streamRawPredict" if call.stream else "rawPredict"
        base, mark, query = call.endpoint.base_url.partition("?")
        model = path_segment(str(call.model))
        request.url = f"{base}/publishers/anthropic/models/{model}:{method}{mark}{query}"
        request.headers = without(request.headers, "anthropic-version")
        request.body = body
        request.model = call.model
        return request

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response with a status >= 300 and any body; never raises."""
        error = super().error(reply)
        if type(error) is NotFound:
            error.message = and_said(error.message, f"The models and their regions: {_MODELS}.")
        return error
