"""The wire of OpenAI's Chat Completions and of all compatible services. Importing this loads no codec.

Wire format: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

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
from modelwire.aliases import JSON, HeaderFields

if TYPE_CHECKING:
    from modelwire.adapters.wires.families import Family
    from modelwire.transport.wire import WireRequest

__all__ = ["WIRE", "count_request"]

# The fields that the endpoint that counts input tokens accepts.
# https://platform.openai.com/docs/api-reference/responses/input-tokens, read 2026-11
_COUNTED = frozenset(
    (
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    )
)


def _tool(tool: Any, openai_tool: JSON, *, strict: bool | None) -> JSON:
    from modelwire.tools.function_calling import convert_to_openai_tool

    return convert_to_openai_tool(openai_tool, strict=strict)


def _schema(schema: JSON, *, strict: bool | None) -> JSON:
    from modelwire.tools.json_schema import strict_schema

    return strict_schema(schema) if strict else schema


def _default_method(family: Family | None, params: object, of_service: str | None) -> str:
    takes_schemas = family is None or family.schemas
    if takes_schemas:
        return of_service or "json_schema"
    return "function_calling"


def _sdk_client(headers: HeaderFields, arguments: JSON) -> tuple[Any, JSON]:
    from openai import Omit, OpenAI

    bearer = headers.get("authorization")
    # Without a bearer token the key is in another header, and the service might reject a second credential.
    extra = {"Authorization": Omit()} if bearer is None else {}
    return OpenAI(api_key=(bearer or "none").removeprefix("Bearer "), **arguments), extra


def count_request(request: WireRequest) -> None:
    """Change a request of the Responses API, in place, into one that counts its input tokens.

    Chat Completions has no endpoint that counts, so its calls are counted by this one.
    """
    path, mark, query = request.url.partition("?")
    request.url = f"{path}/input_tokens{mark}{query}"
    request.body = {name: value for name, value in request.body.items() if name in _COUNTED}


WIRE = Wire(
    name="openai",
    title="Chat Completions (https://platform.openai.com/docs/api-reference/chat)",
    owner="openai",
    path="/chat/completions",
    model_class="modelwire.adapters:ChatOpenAI",
    # It reads no files but PDF: https://github.com/trpc-group/trpc-agent-go/issues/1816 shows its error, read 2026-11.
    attachments=AttachmentLimits(reads_office_files=False),
    codec=codec_at("modelwire.adapters.wires.openai_chat.codec:ChatCompletionsCodec"),
    tools=ToolDialect(
        _tool,
        r"[a-zA-Z0-9_-]{1,64}",
        frozenset(("anyOf", "oneOf", "allOf", "enum", "not")),
        CONDITIONS | {"allOf"},
        strict_types=True,
        source="https://platform.openai.com/docs/guides/structured-outputs#supported-schemas",
        clouds=("azure_openai",),
    ),
    structured=StructuredOutput(
        ("json_schema", "function_calling", "json_mode"),
        _default_method,
        _schema,
        one_tool_call=True,
    ),
    families=families_at("modelwire.adapters.wires.openai_chat.families:FAMILIES"),
    sdk=SdkSeat("openai", _sdk_client),
    counting=TokenCounting(
        ("openai", "local", "llamacpp"),
        count_request,
        "input_tokens",
        exact=False,
        model_options={"use_responses_api": True},
    ),
    blocks="modelwire.adapters.wires.openai_chat.blocks_from_wire",
    prompt_cache="modelwire.adapters.wires.openai_chat.prompt_cache:ask",
)
