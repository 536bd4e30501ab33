"""Lists the parameters that Anthropic's models reject although the Messages API has them. Data only, read 2026-11."""

from __future__ import annotations

from functools import lru_cache

from modelwire.adapters.wires.families import LOW_TO_HIGH, Family, ModelFamilies, fit_at

_CLAUDE_EFFORT = "https://platform.claude.com/docs/en/build-with-claude/effort"
CLAUDE_THINKING = "https://platform.claude.com/docs/en/build-with-claude/extended-thinking"
_CLAUDE_MIGRATION = "https://platform.claude.com/docs/en/about-claude/models/migration-guide"
_OPUS_5_5 = "https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5"

_SAMPLERS = ("temperature", "top_p", "top_k")
_EXTENDED = (*LOW_TO_HIGH, "xhigh", "max")
CLAUDE = (
    # These always think, and cannot be forced to call a tool.
    Family(
        "opus-5-5 fable-5-1 fable-5-2 mythos-5-1 mythos-5-2",
        _OPUS_5_5,
        _EXTENDED,
        fixed=_SAMPLERS,
        thinking=("adaptive",),
        off=None,
        forced_tools=False,
    ),
    Family(
        "fable-5 mythos-5",
        _CLAUDE_MIGRATION,
        _EXTENDED,
        fixed=_SAMPLERS,
        thinking=("adaptive",),
        off=None,
    ),
    Family(
        "mythos-preview",
        _CLAUDE_EFFORT,
        (*LOW_TO_HIGH, "max"),
        fixed=_SAMPLERS,
        thinking=("adaptive",),
        off=None,
    ),
    Family(
        "sonnet-5-5",
        _CLAUDE_MIGRATION,
        _EXTENDED,
        fixed=_SAMPLERS,
        thinking=("adaptive",),
        off="between_tools",
    ),
    Family(
        "opus-5 sonnet-5 haiku-5-5",
        _CLAUDE_MIGRATION,
        _EXTENDED,
        fixed=_SAMPLERS,
        thinking=("adaptive",),
        off="disabled",
    ),
    Family(
        "opus-4-7 opus-4-8", _CLAUDE_MIGRATION, _EXTENDED, fixed=_SAMPLERS, thinking=("adaptive",)
    ),
    Family(
        "opus-4-6 sonnet-4-6",
        _CLAUDE_EFFORT,
        (*LOW_TO_HIGH, "max"),
        thinking=("adaptive", "enabled"),
        one_sampler=True,
    ),
    Family(
        "opus-4-5",
        _CLAUDE_EFFORT,
        LOW_TO_HIGH,
        thinking=("enabled",),
        one_sampler=True,
        prefill=True,
    ),
    Family(
        "sonnet-4-5 haiku-4-5 opus-4-1",
        CLAUDE_THINKING,
        thinking=("enabled",),
        one_sampler=True,
        prefill=True,
    ),
    # These are older than structured outputs: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    Family(
        "opus-4 opus-4-0 sonnet-4 sonnet-4-0 3-7-sonnet",
        CLAUDE_THINKING,
        thinking=("enabled",),
        schemas=False,
        prefill=True,
    ),
    Family(
        "3-5-sonnet 3-5-haiku 3-opus 3-sonnet 3-haiku",
        CLAUDE_THINKING,
        schemas=False,
        prefill=True,
    ),
)

# The minimum length of a cached prefix, in tokens, by the beginning of the model's name after `claude-`. The first row
# that matches is used.
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-limitations, as of 2026-10.
LEAST_CACHED_TOKENS: tuple[tuple[str, int], ...] = (
    ("opus-5", 512),
    ("fable-5", 512),
    ("mythos-5", 512),
    ("opus-4-7", 2_048),
    ("opus-4-6", 4_096),
    ("opus-4-5", 4_096),
    ("haiku-4-5", 4_096),
    ("3-5-haiku", 2_048),
    ("3-haiku", 2_048),
    ("opus", 1_024),
    ("sonnet", 1_024),
    ("3-", 1_024),
)
# A model without a row is assumed to have the smallest minimum, as a useless mark costs nothing.
_LEAST_CACHED_TOKENS_OF_OTHERS = 512


@lru_cache(maxsize=256)
def least_cached_tokens(model: str) -> int:
    """Return the minimum length of a cached prefix in tokens; `model` is any provider's name of a Claude model."""
    name = model.partition("claude-")[2].replace(".", "-")
    for beginning, tokens in LEAST_CACHED_TOKENS:
        if name.startswith(beginning):
            return tokens
    return _LEAST_CACHED_TOKENS_OF_OTHERS


def _base_name(model: str) -> str | None:
    """Return the part of a model's name after `claude-` (Bedrock: `us.anthropic.claude-...`); None for other models."""
    before, found, name = model.partition("claude-")
    if found and (before == "" or before.endswith("anthropic.")):
        return name
    return None


FAMILIES = ModelFamilies(
    {"anthropic": CLAUDE},
    fit_at("modelwire.adapters.wires.anthropic.parameter_adaptation:fit"),
    # https://docs.anthropic.com/en/api/messages, read 2026-11
    touched=frozenset(("temperature", "top_p", "top_k")),
    base_name=_base_name,
)
