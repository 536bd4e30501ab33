"""Lists the parameters that models of OpenAI, xAI and Cohere reject although their API has them. Read 2026-11."""

from __future__ import annotations

import re

from modelwire.adapters.wires.families import LEVELS, LOW_TO_HIGH, Family, ModelFamilies, fit_at

_OPENAI_REASONING = "https://developers.openai.com/api/docs/guides/reasoning"
_OPENAI_COMPATIBILITY = (
    "https://developers.openai.com/api/docs/guides/latest-model"  # "parameter compatibility"
)
_OPENAI_SCHEMAS = (
    "https://developers.openai.com/api/docs/guides/structured-outputs"  # "starting with GPT-4o"
)
_OPENAI_CHAT = "https://developers.openai.com/api/docs/api-reference/chat/create"
_AZURE_REASONING = "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning"
_XAI_REASONING = "https://docs.x.ai/docs/guides/reasoning"

# The parameters that models which reason accept only with their default values.
_SAMPLING = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)
_REASONS = (*_SAMPLING, "stop")
OPENAI = (
    # That `stop` is rejected is documented for o3 and o4-mini, and reported for gpt-5:
    # https://github.com/BerriAI/litellm/pull/15244
    Family(
        "o1 o1-mini o1-preview o1-pro o3-mini",
        _AZURE_REASONING,
        LOW_TO_HIGH,
        ("parallel_tool_calls",),
        (*_SAMPLING, "verbosity"),
    ),
    Family(
        "o3 o3-pro o3-deep-research o4-mini o4-mini-deep-research",
        _AZURE_REASONING,
        LOW_TO_HIGH,
        ("parallel_tool_calls",),
        (*_REASONS, "verbosity"),
    ),
    Family("gpt-5-pro", _OPENAI_REASONING, ("high",), (), _REASONS),
    Family(
        "gpt-5 gpt-5-mini gpt-5-nano gpt-5-codex",
        _OPENAI_REASONING,
        ("minimal", *LOW_TO_HIGH),
        (),
        _REASONS,
    ),
    Family(
        "gpt-5.1-codex-max gpt-5.2-codex gpt-5.3-codex",
        _OPENAI_REASONING,
        (*LOW_TO_HIGH, "xhigh"),
        (),
        _REASONS,
    ),
    Family("gpt-5.1-codex gpt-5.1-codex-mini", _OPENAI_REASONING, LOW_TO_HIGH, (), _REASONS),
    Family(
        "gpt-5.2-pro gpt-5.4-pro gpt-5.5-pro",
        _OPENAI_REASONING,
        ("medium", "high", "xhigh"),
        (),
        _REASONS,
    ),
    # These reason only if the call sets an effort. Without one, or with "none", they accept all parameters.
    Family(
        "gpt-5.1 gpt-5.1-mini",
        _OPENAI_COMPATIBILITY,
        ("none", *LOW_TO_HIGH),
        (),
        _REASONS,
        ("none", None),
    ),
    Family(
        "gpt-5.2 gpt-5.4 gpt-5.4-mini gpt-5.4-nano",
        _OPENAI_COMPATIBILITY,
        ("none", *LOW_TO_HIGH, "xhigh"),
        (),
        _REASONS,
        ("none", None),
    ),
    # These reason unless the effort is "none".
    Family(
        "gpt-5.5", _OPENAI_COMPATIBILITY, ("none", *LOW_TO_HIGH, "xhigh"), (), _REASONS, ("none",)
    ),
    # openai 3.52 names the models of 6.2. They are assumed to accept what the older ones of their names accept.
    Family(
        "gpt-6-astra gpt-6.2-astra gpt-6.2-astra-law",
        _OPENAI_COMPATIBILITY,
        (*LOW_TO_HIGH, "xhigh", "max"),
        (),
        _REASONS,
    ),
    Family(
        "gpt-5.6 gpt-5.6-sol gpt-5.6-terra gpt-5.6-luna gpt-6-sol gpt-6-luna gpt-6.1-sol gpt-6.1-terra "
        "gpt-6.2-sol",
        _OPENAI_COMPATIBILITY,
        ("none", *LOW_TO_HIGH, "xhigh", "max"),
        (),
        _REASONS,
        ("none",),
    ),
    # Azure's names have "35" instead of "3.5".
    Family("gpt-4 gpt-4-* gpt-3.5* gpt-35*", _OPENAI_SCHEMAS, fixed=("verbosity",), schemas=False),
    Family("gpt-4* chatgpt-4o* gpt-5-chat*", _OPENAI_CHAT, fixed=("verbosity",)),
)

_XAI = (
    # The name of the model selects the effort of these.
    Family(
        "grok-4-fast-non-reasoning grok-4-1-fast-non-reasoning grok-4.20-non-reasoning "
        "grok-4.20-0309-non-reasoning",
        _XAI_REASONING,
        LEVELS,
        ("reasoning_effort",),
    ),
    Family(
        "grok-4 grok-4-0709 grok-4-fast-reasoning grok-4-1-fast-reasoning grok-4.20-reasoning "
        "grok-4.20-0309-reasoning grok-code-fast-1",
        _XAI_REASONING,
        LEVELS,
        ("reasoning_effort", "presence_penalty", "frequency_penalty", "stop"),
    ),
    Family(
        "grok-3-mini grok-3-mini-fast grok-4.3 grok-4.5",
        _XAI_REASONING,
        LEVELS,
        ("presence_penalty", "frequency_penalty", "stop"),
    ),
)

# Cohere accepts no "low" and no "medium": https://docs.cohere.com/docs/compatibility-api
_COHERE = (Family("*", "https://docs.cohere.com/docs/compatibility-api", ("none", "high")),)

FAMILIES = ModelFamilies(
    # A deployment on Azure often has the name of its model.
    {"openai": OPENAI, "azure_openai": OPENAI, "xai": _XAI, "cohere": _COHERE},
    fit_at("modelwire.adapters.wires.openai_chat.parameter_adaptation:fit"),
    lacks=("top_k",),  # https://platform.openai.com/docs/api-reference/chat
)

# The models that accept `prompt_cache_retention="24h"`, with or without a date in their names:
# https://developers.openai.com/api/docs/guides/prompt-caching#prompt-cache-retention, as of 2026-10. GPT-5.6 and later
# models have `prompt_cache_options` instead, whose only lifetime, "30m", is the default.
_LONG_PROMPT_CACHE = frozenset(
    (
        "gpt-5.5",
        "gpt-5.5-pro",
        "gpt-5.4",
        "gpt-5.3-codex",
        "gpt-5.2",
        "gpt-5.1-codex-max",
        "gpt-5.1",
        "gpt-5.1-codex",
        "gpt-5.1-codex-mini",
        "gpt-5.1-chat",
        "gpt-5",
        "gpt-5-codex",
        "gpt-4.1",
    )
)


def has_breakpoints(model: str) -> bool:
    """Return whether the model caches a prompt only up to its breakpoints, and accepts breakpoints in a request."""
    return model.startswith(("gpt-5.6", "gpt-6"))


def has_long_prompt_cache(model: str) -> bool:
    """Return whether the model accepts `prompt_cache_retention="24h"`."""
    name = re.sub(r"-(\d{4}-\d\d-\d\d|latest)$", "", model.removeprefix("ft:").partition(":")[0])
    return name in _LONG_PROMPT_CACHE
