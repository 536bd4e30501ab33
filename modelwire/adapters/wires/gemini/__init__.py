"""The wire of Gemini's generateContent, on the Gemini API and on Vertex AI. Importing this loads no codec.

Wire format: https://ai.google.dev/api/generate-content, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def _tool(tool: Any, openai_tool: JSON, *, strict: bool | None) -> JSON:
    if strict is None or "function" not in openai_tool:
        return openai_tool
    return {**openai_tool, "function": {**openai_tool["function"], "strict": strict}}


def _count_request(request: WireRequest) -> None:
    """Change a request, in place, into one that counts its input tokens. Vertex AI's has another body.

    Source: https://ai.google.dev/api/tokens, read 2026-11.
    """
    path, mark, query = request.url.partition("?")
    path = path.rpartition(":")[0]
    request.url = f"{path}:countTokens{mark}{query}"
    if "/publishers/" in path:
        names = ("contents", "systemInstruction", "tools", "generationConfig")
        request.body = {name: request.body[name] for name in names if name in request.body}
    else:
        model = path.rpartition("/models/")[2]
        request.body = {"generateContentRequest": {"model": f"models/{model}", **request.body}}


WIRE = Wire(
    name="gemini",
    title="the Gemini API (https://ai.google.dev/api/generate-content)",
    owner="google_genai",
    path=":generateContent",
    model_class="modelwire.adapters:ChatGoogleGenerativeAI",
    # https://github.com/googleapis/python-genai/issues/829 shows its error, read 2026-11.
    attachments=AttachmentLimits(reads_office_files=False),
    codec=codec_at("modelwire.adapters.wires.gemini.codec:GenerateContentCodec"),
    # https://ai.google.dev/api/caching#FunctionDeclaration, read 2026-11
    tools=ToolDialect(
        _tool,
        name=r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}",
        source="https://ai.google.dev/api/caching",
    ),
    structured=StructuredOutput(
        ("json_schema", "function_calling", "json_mode"),
        default=lambda family, params, of_service: "json_schema",
        schema=lambda schema, strict: dict(schema),
        describes_in_schema=True,
    ),
    version_path="",
    families=families_at("modelwire.adapters.wires.gemini.families:FAMILIES"),
    counting=TokenCounting(("google_genai", "google_vertexai"), _count_request, "totalTokens"),
    blocks="modelwire.adapters.wires.gemini.blocks_from_wire",
    prompt_cache="modelwire.adapters.wires.gemini.prompt_cache:ask",
)
