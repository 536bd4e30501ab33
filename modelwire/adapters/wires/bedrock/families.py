"""Lists the parameters that models on Bedrock reject, and converts the settings of reasoning to those of the models.

The rows of Claude are those of Anthropic's API, as the models and their parameters are the same.
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
    # These accept tools, but cannot be forced to call one.
    Family("llama* command* jamba* titan*", _TOOL_CHOICE, forced_tools=False, schemas=False),
)
# Converse has no fields for these parameters, and no model in the rows accepts them as fields of its own.
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
    """The documented limits of a model's prompt cache."""

    least_tokens: int  # the minimum length of a cached prefix
    has_long: bool = False  # The model accepts the lifetime "1h".
    marks_tools: bool = True  # The tools may have a cache point.


# https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html#prompt-caching-models, as of 2026-10.
# Claude 4.5 and later models accept the lifetime "1h". These older ones do not.
_SHORT_ONLY = ("3-", "opus-4-1", "opus-4-20", "sonnet-4-20")
# Bedrock's minimum for Claude Opus 4.7 differs from Anthropic's.
_OPUS_4_7_TOKENS = 4_096
_NOVA_CACHE = KnownPromptCache(1_000, marks_tools=False)


def prompt_cache_of(model: str) -> KnownPromptCache | None:
    """Return the limits of a model's prompt cache; None if no prompt cache is documented for it."""
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
    """Return a model's name without the company, the region and the beginning of an ARN; None if it has no company."""
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
    # These are not converted to Anthropic's parameters: Bedrock has other tiers, and Nova and gpt-oss other settings.
    own_words = {"service_tier": params.pop("service_tier")} if "service_tier" in params else {}
    if family.thinking and family.thinking[0] in ("reasoningConfig", "reasoning_effort"):
        own_words |= _reasoning(adaptation, family)
    fit(adaptation, family)
    params |= own_words


def _reasoning(adaptation: ParameterAdaptation, family: Family) -> JSON:
    """Remove the parameters of reasoning, and return them as the parameters of Nova or gpt-oss."""
    taken = adaptation.take_reasoning("reasoning", "reasoning_effort", "thinking", "effort")
    if taken is None:
        return {}
    name = taken[0]
    level = taken[1].level()
    is_nova = family.thinking[0] == "reasoningConfig"
    if level == "none" and is_nova:
        return {"reasoningConfig": {"type": "disabled"}}
    if level == "none":
        adaptation.note(
            name, f'is not "none": `{adaptation.model}` always reasons, see {family.link}'
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
