"""The wire of Anthropic's Messages API and of services that have it. Importing this loads no codec.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.wire import (
    CONDITIONS,
    AttachmentLimits,
    SdkSeat,
    StructuredOutput,
    TokenCounting,
    ToolDialect,
    Wire,
    codec_at,
    families_at,
)
from modelwire.aliases import JSON, HeaderFields, Values

if TYPE_CHECKING:
    from modelwire.adapters.wires.families import Family
    from modelwire.transport.wire import WireRequest

__all__ = ["WIRE", "default_method", "limited_schema"]

# The providers with an endpoint that counts input tokens.
_COUNTING = ("anthropic", "google_anthropic_vertex", "local", "llamacpp")
# The fields that this endpoint accepts: anthropic 2.11, `MessageCountTokensParams`. Vertex AI adds the version.
_COUNTED = frozenset(
    (
        "anthropic_version",
        "cache_control",
        "context_management",
        "mcp_servers",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    )
)


def _tool(tool: Any, openai_tool: JSON, *, strict: bool | None) -> JSON:
    from modelwire.tools.function_calling import convert_to_anthropic_tool

    if not isinstance(tool, Mapping):  # A dict contains its extras already.
        tool = {**openai_tool, **(getattr(tool, "extras", None) or {})}
    return convert_to_anthropic_tool(tool, strict=strict)


def limited_schema(schema: JSON, *, strict: bool | None) -> JSON:
    """Return a JSON schema within the limits of Anthropic's structured outputs, whatever `strict` is."""
    from modelwire.tools.json_schema import anthropic_schema

    return anthropic_schema(schema)


def default_method(
    family: Family | None, params: Callable[[], Values], of_service: str | None
) -> str:
    """Return "json_schema" if the model cannot be forced to call a tool, else "function_calling".

    Some models can never be forced, others not while they think; models without structured outputs have no choice.
    Source: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking, read 2026-11.
    """
    if family is not None and not (family.forced_tools and family.schemas):
        if family.schemas:
            return "json_schema"
        return "function_calling"
    sent = params()
    of_bedrock = sent.get("additional_model_request_fields") or {}
    thinking = sent.get("thinking") or of_bedrock.get("thinking")
    thinks = isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")
    if thinks:
        return "json_schema"
    return "function_calling"


def _sdk_client(headers: HeaderFields, arguments: JSON) -> tuple[Any, JSON]:
    from anthropic import Anthropic

    from modelwire.adapters.wires.anthropic.codec import ANTHROPIC_VERSION

    key = headers.get("x-api-key")
    token = (headers.get("authorization") or "").removeprefix("Bearer ") or None
    ours = {
        "base_url": arguments["base_url"].removesuffix("/v1"),
        "default_headers": {"anthropic-version": ANTHROPIC_VERSION, **arguments["default_headers"]},
    }
    return Anthropic(
        api_key=key if key or token else "none", auth_token=token, **(arguments | ours)
    ), {}


def _count_request(request: WireRequest) -> None:
    """Change a request, in place, into one that counts its input tokens.

    Source: https://docs.anthropic.com/en/api/messages-count-tokens, read 2026-11.
    """
    path, mark, query = request.url.partition("?")
    before, on_vertex, _ = path.rpartition("/models/")
    path = f"{before}/models/count-tokens:rawPredict" if on_vertex else f"{path}/count_tokens"
    request.url = f"{path}{mark}{query}"
    request.body = {name: value for name, value in request.body.items() if name in _COUNTED} | {
        "model": request.model
    }


WIRE = Wire(
    name="anthropic",
    title="the Anthropic Messages API (https://docs.anthropic.com/en/api/messages)",
    owner="anthropic",
    path="/messages",
    model_class="modelwire.adapters:ChatAnthropic",
    # https://docs.anthropic.com/en/docs/build-with-claude/vision#general-limits, read 2026-11
    attachments=AttachmentLimits(image_bytes=5 * 1024 * 1024),
    codec=codec_at("modelwire.adapters.wires.anthropic.codec:MessagesCodec"),
    tools=ToolDialect(
        _tool,
        r"[a-zA-Z0-9_-]{1,128}",
        frozenset(("anyOf", "oneOf", "allOf")),
        CONDITIONS,
        strict_recursion=False,
        source="https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations",
    ),
    structured=StructuredOutput(
        ("json_schema", "function_calling"),
        default_method,
        limited_schema,
        always_strict=True,
        describes_in_schema=True,
    ),
    version_path="",
    families=families_at("modelwire.adapters.wires.anthropic.families:FAMILIES"),
    sdk=SdkSeat(
        "anthropic",
        _sdk_client,
        joined_headers=("anthropic-beta",),
        # These clouds require the version of the Messages API in the body. A client adds its own version if there is
        # none, which is later than the codec's: `2026-10-21` in anthropic 2.11, without `temperature`.
        # https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html and
        # https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude, read 2026-11
        body_fields={
            "AnthropicBedrock": {"anthropic_version": "bedrock-2023-05-31"},
            "AnthropicVertex": {"anthropic_version": "vertex-2023-10-16"},
        },
    ),
    counting=TokenCounting(_COUNTING, _count_request, "input_tokens"),
    blocks="modelwire.adapters.wires.anthropic.blocks_from_wire",
    prompt_cache="modelwire.adapters.wires.anthropic.prompt_cache:ask",
)
