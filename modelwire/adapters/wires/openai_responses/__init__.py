"""The wire of OpenAI's Responses API and of services that have it. Importing this loads no codec.

It differs from Chat Completions only in the fields set here. Its codec converts Chat Completions' tools and schemas.
Wire format: https://platform.openai.com/docs/api-reference/responses, read 2026-11.
"""

from __future__ import annotations

from modelwire.adapters.wires.openai_chat import WIRE as CHAT
from modelwire.adapters.wires.openai_chat import count_request
from modelwire.adapters.wires.wire import AttachmentLimits, TokenCounting, codec_at, families_at

__all__ = ["WIRE"]

WIRE = CHAT._replace(
    name="responses",
    title="the Responses API (https://platform.openai.com/docs/api-reference/responses)",
    path="/responses",
    attachments=AttachmentLimits(),  # https://developers.openai.com/api/docs/guides/file-inputs, read 2026-11
    codec=codec_at("modelwire.adapters.wires.openai_responses.codec:ResponsesCodec"),
    model_options={"use_responses_api": True},
    families=families_at("modelwire.adapters.wires.openai_responses.families:FAMILIES"),
    counting=TokenCounting(("openai", "local", "llamacpp"), count_request, "input_tokens"),
    blocks="modelwire.adapters.wires.openai_responses.blocks_from_wire",
)
