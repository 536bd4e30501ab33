"""What models on Bedrock take, where it is less than Converse has fields for. Data, and their words for reasoning.

The rows of Claude are those of Anthropic's API: it is the same model, with the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.adapters.wires.anthropic.families import CLAUDE, least_cached_tokens
from modelwire.adapters.wires.families import LOW_TO_HIGH, Family, ModelFamilies
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.adapters.wires.parameter_adaptation import ParameterAdaptation

_NOVA = "https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html"
_GPT_OSS = "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html"
_TOOL_CHOICE = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolChoice.html"

_OTHERS = (
    Family("nova-2*", _NOVA, LOW_TO_HIGH, thinking=("reasoningConfig",), schemas=False),
    Family("nova*", _TOOL_CHOICE, schemas=False),
    Family("gpt-oss*", _GPT_OSS, LOW_TO_HIGH, thinking=("reasoning_effort",)),
    # Tools, but none that must be called.
    Family("llama* command* jamba* titan*", _TOOL_CHOICE, forced_tools=False, schemas=False),
)
# Converse has no fields for these, and no model in the rows takes them beside it.
_LACKS = (
    "seed",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
)


class KnownPromptCache(NamedTuple):
    """What is known of the prompt cache of a model."""

    least_tokens: int  # of a prefix that is cached
    has_long: bool = False  # it takes the lifetime "1h"
    marks_tools: bool = True  # the tools may have a cache point


# https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html#prompt-caching-models, as of 2026-10.
# Claude 4.5 and later take the lifetime "1h"; these do not.
_SHORT_ONLY = ("3-", "opus-4-1", "opus-4-20", "sonnet-4-20")
# Bedrock has another minimum than Anthropic for it.
_OPUS_4_7_TOKENS = 4_096
_NOVA_CACHE = KnownPromptCache(1_000, marks_tools=False)


def prompt_cache_of(model: str) -> KnownPromptCache | None:
    """Return what is known of a model's prompt cache; None if none is documented."""
    if "claude-" in model:
        name = model.partition("claude-")[2]
        least = least_cached_tokens(model)
        if name.startswith("opus-4-7"):
            least = _OPUS_4_7_TOKENS
        return KnownPromptCache(least, not name.startswith(_SHORT_ONLY))
    if "nova-" in model:
        return _NOVA_CACHE
    return None


def _base_name(model: str) -> str | None:
    """Return the model's own name: behind the maker's, the region's and what an ARN has before them."""
    maker, found, name = model.rpartition("/")[2].rpartition(".")
    if "claude-" in model:
        return model.partition("claude-")[2]
    if found and maker:
        return name
    return None


def _fit(adaptation: ParameterAdaptation, family: Any, service: object) -> None:
    from modelwire.adapters.wires.anthropic.parameter_adaptation import fit
    from modelwire.adapters.wires.parameter_adaptation import format_as_openai

    params = adaptation.params
    format_as_openai(params)
    adaptation.leave_out_all(_LACKS, f"{adaptation.title} has no such parameter")
    # Not in Anthropic's words: Bedrock has tiers of its own, and the others' reasoning is theirs.
    own_words = {"service_tier": params.pop("service_tier")} if "service_tier" in params else {}
    if family.thinking and family.thinking[0] in ("reasoningConfig", "reasoning_effort"):
        own_words |= _reasoning(adaptation, family)
    fit(adaptation, family)
    params |= own_words


def _reasoning(adaptation: ParameterAdaptation, family: Family) -> JSON:
    """Remove the parameters of reasoning, and return them as Nova or gpt-oss takes them."""
    if (
        taken := adaptation.take_reasoning("reasoning", "reasoning_effort", "thinking", "effort")
    ) is None:
        return {}
    name = taken[0]
    level = taken[1].level()
    is_nova = family.thinking[0] == "reasoningConfig"
    if level == "none" and is_nova:
        return {"reasoningConfig": {"type": "disabled"}}
    if level == "none":
        adaptation.note(
            name, f"is not none: `{adaptation.model}` always reasons, see {family.link}"
        )
    effort = "low" if level == "none" else adaptation.closest_level(name, level or "medium", family)
    if is_nova:
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    return {"reasoning_effort": effort}


FAMILIES = ModelFamilies(
    {"bedrock_converse": (*CLAUDE, *_OTHERS)},
    _fit,
    lacks=_LACKS,
    touched=frozenset(("temperature", "top_p", "top_k", "output_format")),
    base_name=_base_name,
)
