"""The wire of Amazon Bedrock's Converse, an API for all its chat models. Importing this loads no codec.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelwire.adapters.wires.anthropic import default_method, limited_schema
from modelwire.adapters.wires.wire import (
    AttachmentLimits,
    StructuredOutput,
    TokenCounting,
    ToolDialect,
    Wire,
    codec_at,
    families_at,
)
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

__all__ = ["WIRE"]

# The fields that the endpoint that counts input tokens accepts: botocore 1.44, `CountTokens`.
_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
# Matches the region at the beginning of the id of an inference profile.
_REGION = r"^(us|us-gov|eu|apac|au|jp|ca|sa|me|af|global)\.(?=[a-z0-9-]+\.)"


def _tool(tool: Any, openai_tool: JSON, *, strict: bool | None) -> JSON:
    """Return the tool in OpenAI's form, in which shared code finds its name; the codec converts it to Converse's."""
    from modelwire.tools.function_calling import convert_to_openai_tool

    converted = convert_to_openai_tool(openai_tool, strict=strict)
    if converted.get("function", {}).get("strict") and "parameters" in openai_tool["function"]:
        schema = limited_schema(openai_tool["function"]["parameters"], strict=True)
        converted["function"] = {**converted["function"], "parameters": schema}
    return {**converted, **(getattr(tool, "extras", None) or {})}


def _count_request(request: WireRequest) -> None:
    """Change a request, in place, into one that counts its input tokens.

    The endpoint accepts only the id of a model, and not that of an inference profile, which begins with a region.
    Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html, read 2026-11.
    """
    path, mark, query = request.url.partition("?")
    model = quote(re.sub(_REGION, "", str(request.model)), safe="")
    request.url = f"{path.rpartition('/model/')[0]}/model/{model}/count-tokens{mark}{query}"
    request.body = {
        "input": {
            "converse": {name: request.body[name] for name in _COUNTED if name in request.body}
        }
    }


WIRE = Wire(
    name="bedrock",
    title="Bedrock's Converse (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html)",
    owner="bedrock_converse",
    path="/converse",
    model_class="modelwire.adapters:ChatBedrockConverse",
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html, read 2026-11
    attachments=AttachmentLimits(image_bytes=3_750_000),
    codec=codec_at("modelwire.adapters.wires.bedrock.codec:ConverseCodec"),
    tools=ToolDialect(
        _tool,
        name=r"[a-zA-Z0-9_-]{1,64}",
        strict_recursion=False,
        source="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html",
    ),
    structured=StructuredOutput(
        ("json_schema", "function_calling"), default_method, limited_schema
    ),
    version_path="",
    families=families_at("modelwire.adapters.wires.bedrock.families:FAMILIES"),
    counting=TokenCounting(("bedrock_converse",), _count_request, "inputTokens"),
    blocks="modelwire.adapters.wires.bedrock.blocks_from_wire",
    prompt_cache="modelwire.adapters.wires.bedrock.prompt_cache:ask",
)
