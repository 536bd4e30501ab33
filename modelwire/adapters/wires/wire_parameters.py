"""Lists the parameters that each wire documents, so that no wire is sent another wire's parameter. No I/O here.

Read 2026-11, in the pages that each wire's codec names and the parameters of openai 3.54, anthropic 2.12, google-genai
3.4. Parameters that all wires have are not listed. The list of Chat Completions includes what several compatible
services document; that of Converse what models accept in `additionalModelRequestFields`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service

# The parameters of each wire, separated by spaces.
OF_WIRE = {
    "openai": "parallel_tool_calls "
    "frequency_penalty presence_penalty logit_bias logprobs top_logprobs n seed stop top_k "
    "metadata moderation prompt_cache_key prompt_cache_options prompt_cache_retention "
    "safety_identifier store stream_options user verbosity reasoning reasoning_effort "
    "audio function_call functions labels modalities prediction thinking_budget web_search_options",
    "responses": "logprobs top_logprobs n parallel_tool_calls "
    "metadata moderation prompt_cache_key prompt_cache_options prompt_cache_retention "
    "safety_identifier store stream_options user verbosity reasoning reasoning_effort "
    "background background_options context_management conversation include instructions "
    "max_tool_calls previous_response_id prompt text truncation",
    "anthropic": "parallel_tool_calls betas billing_policy cache_control compaction container context_management "
    "diagnostics effort fallback_credit_token fallbacks inference_geo mcp_servers metadata "
    "output_config output_format speed stop system thinking thread top_k user user_profile_id "
    "workspace_id",
    "gemini": "frequency_penalty presence_penalty logprobs top_logprobs n seed stop top_k store "
    "audioTimestamp audioTranscriptionConfig audio_timestamp audio_transcription_config "
    "cachedContent cached_content candidateCount candidate_count continuationToken "
    "continuation_token generationConfig generation_config generation_output_config imageConfig "
    "image_config include_thoughts labels mediaResolution media_resolution modalities "
    "model_armor_config outputConfig responseModalities response_json_schema response_mime_type "
    "response_modalities response_schema safetySettings safety_settings speechConfig speech_config "
    "systemInstruction system_instruction thinkingConfig thinking_budget thinking_config thinking_level toolConfig "
    "tool_config",
    "bedrock": "parallel_tool_calls "
    "frequency_penalty presence_penalty logit_bias logprobs top_logprobs n seed stop top_k "
    "effort output_config output_format reasoning reasoning_effort thinking "
    "additionalModelRequestFields additional_model_request_fields "
    "additionalModelResponseFieldPaths additional_model_response_field_paths cache_control "
    "guardrailConfig guardrail_config guard_last_turn_only inferenceConfig outputConfig "
    "performanceConfig performance_config promptVariables prompt_variables requestMetadata "
    "request_metadata serviceTier system toolConfig",
}


@lru_cache(maxsize=64)
def foreign_words(wire: str, service: Service | None) -> frozenset[str]:
    """Return the parameters that other wires have, but neither this wire nor the service."""
    own = "" if service is None else f"{service.own} {service.reasoning_word}"
    if wire not in OF_WIRE or own[:1] == "*":
        return frozenset()
    every = frozenset(" ".join(OF_WIRE.values()).split())
    return every.difference(OF_WIRE[wire].split(), own.split())
