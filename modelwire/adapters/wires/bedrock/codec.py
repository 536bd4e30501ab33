"""The codec of Bedrock's Converse: `POST {base_url}/model/{model}/converse`, `/converse-stream`. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.adapters.wires.bedrock.blocks_to_wire import blocks_to_wire, cache_point
from modelwire.adapters.wires.bedrock.event_stream import EventStreamDecoder
from modelwire.adapters.wires.bedrock.messages import turns_from_messages
from modelwire.adapters.wires.bedrock.parameters import fields_from_parameters
from modelwire.adapters.wires.bedrock.response import classed_by_words, read_answer
from modelwire.adapters.wires.bedrock.stream import ConverseStreamDecoder
from modelwire.adapters.wires.dropped_content import foreign_work
from modelwire.adapters.wires.json import error_from_reply, request_id_of
from modelwire.adapters.wires.wire import path_segment
from modelwire.aliases import JSON, HeaderFields
from modelwire.errors import NotFound, and_said
from modelwire.transport.classify import provider_error
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.errors import ChatError
    from modelwire.messages import AIMessage
    from modelwire.transport.wire import Reply

# Parts of the error messages for a missing model, seen in public recordings, 2026-11. `_ADVICE` is added to them.
_NO_MODEL = (
    "model identifier is invalid",
    "on-demand throughput isn",
    "the foundation model",
    "to the model with",
)
_ADVICE = (
    "Many models need the id of an inference profile (`us.anthropic.claude-sonnet-4-5-20250929-v1:0`), and no model is "
    "in every region: `aws bedrock list-inference-profiles --region REGION` lists the profiles, and so does "
    "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html."
)


def _tool_notes(is_parallel: Any, choice: Any) -> list[str]:
    """Return a sentence for each setting of tools that Converse has no parameter for."""
    notes = []
    if is_parallel is False:
        notes.append("`parallel_tool_calls=False` is left out: Converse has no such parameter.")
    if choice in ("none", {"type": "none"}):
        notes.append('The tools are left out: Converse has no `tool_choice="none"`.')
    return notes


class ConverseCodec(NamedTuple):
    """The codec of Bedrock's Converse API, for the models of all companies."""

    provider: str = "bedrock_converse"
    # The name of the wire in the registry.
    wire: str = "bedrock"
    # The name that the metadata of an answer get, as answers do not name their model.
    model: str | None = None
    framing: type[EventStreamDecoder] = EventStreamDecoder
    # The limit of an answer counts against the tokens per minute before the provider answers, see
    # https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html, read 2026-11.
    reserves: tuple[str, ...] = ("maxTokens",)

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Raises `InvalidArgument` for content that Converse does not accept."""
        params = dict(call.params)
        name = str(params.pop("model_id", call.model))
        left_out: list[str] = []
        system, turns = turns_from_messages(call.messages, left_out)
        system = [*blocks_to_wire(params.pop("system", "")), *system]
        body: JSON = {"messages": turns}
        if system:
            body["system"] = system
        is_parallel = params.pop("parallel_tool_calls", None)
        if params.get("tools"):
            left_out += _tool_notes(is_parallel, params.get("tool_choice"))
        if "cache_control" in params:
            turns[-1]["content"].append(cache_point(params.pop("cache_control")))
        body |= fields_from_parameters(params, turns)
        method = "converse-stream" if call.stream else "converse"
        base, question_mark, query = call.endpoint.base_url.partition("?")
        # A name may have colons, and an ARN slashes. They are quoted here, because the signature covers the sent path.
        url = f"{base.rstrip('/')}/model/{path_segment(name)}/{method}{question_mark}{query}"
        headers = {"content-type": "application/json"}
        for more in (call.endpoint.headers, call.extra_headers):
            for header, value in more.items():
                headers[header.lower()] = value
        body |= call.extra_body
        request = WireRequest(url, headers, body, stream=call.stream)
        request.left_out = left_out + foreign_work(
            call.messages, (None, self.provider), skips_blocks=True
        )
        return request

    def decode(self, reply: Reply) -> AIMessage:
        """Return the message of an unstreamed answer. Raises `MalformedResponse`, or the error that the body has."""
        return read_answer(reply, self.provider, self.model)

    def stream_decoder(self, headers: HeaderFields | None = None) -> ConverseStreamDecoder:
        """Return the decoder for one streamed answer; `headers` are the response's."""
        return ConverseStreamDecoder(
            provider=self.provider, model=self.model, request_id=request_id_of(headers or {})
        )

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response with a status >= 300 and any body; never raises.

        The type of the error is in a header, and not in the body.
        """
        error = error_from_reply(reply, self.provider)
        kind = reply.headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]
        if kind:
            error = provider_error(
                error.message,
                provider=self.provider,
                status=reply.status,
                type=kind,
                code=kind,
                headers=reply.headers,
                request_id=error.request_id,
                body=error.body,
            )
        error = classed_by_words(error)
        if type(error) is NotFound or any(part in error.message.lower() for part in _NO_MODEL):
            error.message = and_said(error.message, _ADVICE)
        return error
