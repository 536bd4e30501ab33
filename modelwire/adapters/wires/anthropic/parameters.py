"""Encodes the parameters of a call for Anthropic: tools, limits, the answer's schema. No I/O here.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11. Unknown parameters are sent unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from modelwire.adapters.wires.tool_params import read_choice, read_form
from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.block_translators.standard import type_of

# The limit for a model without a row below, as every model accepts it.
DEFAULT_MAX_TOKENS = 4096

# The most tokens of an answer, by the beginning of the model's name; `$` matches the end of the name. The first row
# that matches is used. https://docs.anthropic.com/en/docs/about-claude/models/overview, as of 2026-11.
MAX_TOKENS: tuple[tuple[str, int], ...] = (
    ("claude-3-7", 64_000),
    ("claude-3-5", 8_192),
    ("claude-3", 4_096),
    ("claude-opus-4-0", 32_000),
    ("claude-opus-4-1", 32_000),
    ("claude-opus-4-2025", 32_000),
    ("claude-opus-4-5", 64_000),
    ("claude-opus-4$", 32_000),
    ("claude-opus-4", 128_000),  # 4.6 and later
    ("claude-sonnet-4", 64_000),
    ("claude-haiku-4", 64_000),
    ("claude-opus-5", 128_000),
    ("claude-sonnet-5", 128_000),
    ("claude-haiku-5", 128_000),
    ("claude-fable-5", 128_000),
    ("claude-mythos", 128_000),
)

# The beginnings of the names of models that accept system messages later in the history:
# https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages, as of 2026-11.
_SYSTEM_TURNS = (
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-haiku-5",
    "claude-fable-5",
    "claude-mythos-5",
)


@lru_cache(maxsize=256)
def max_tokens_of(model: str) -> int:
    """Return the most tokens of an answer of the model: the limit that is sent if the caller sets none."""
    # `us.anthropic.claude-...` on Bedrock, `claude-...@20250514` on Vertex, `anthropic/claude-opus-4.1` on OpenRouter
    model = (
        model.rpartition("anthropic.")[2]
        .rpartition("anthropic/")[2]
        .replace("@", "-")
        .replace(".", "-")
    )
    return next(
        (limit for name, limit in MAX_TOKENS if f"{model}$".startswith(name)), DEFAULT_MAX_TOKENS
    )


@lru_cache(maxsize=256)
def takes_system_turns(model: str) -> bool:
    """Return whether the model accepts system messages after other messages."""
    return model.startswith(_SYSTEM_TURNS)


# The names of the limit: the common one, OpenAI's two, Anthropic's old one. The first that is set is used.
_MAX_TOKENS_NAMES = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens_to_sample",
)


def encode_parameters(params: Fields, *, max_tokens: int) -> JSON:
    """Return the fields of the body beside `model` and `messages`; `max_tokens` is the limit if the caller set none."""
    rest = dict(params)
    body: JSON = {"max_tokens": _max_tokens(rest, max_tokens)}
    if "stop" in rest:
        stop = rest.pop("stop")
        if stop := [stop] if isinstance(stop, str) else _listed("stop", stop):
            body["stop_sequences"] = stop
    if "tools" in rest and (
        tools := [encode_tool(tool) for tool in _listed("tools", rest.pop("tools"))]
    ):
        body["tools"] = tools
    if (choice := _tool_choice(rest, has_tools="tools" in body)) is not None:
        body["tool_choice"] = choice
    if not _OUTPUT_NAMES.isdisjoint(rest) and (config := _output_config(rest)):
        body["output_config"] = config
    return body | rest


def _max_tokens(params: JSON, default: int) -> Any:
    """Remove the limit under all its names and return it; without one, the default, plus a larger thinking budget."""
    set_ones = [params.pop(name) for name in _MAX_TOKENS_NAMES if name in params]
    if set_ones:
        return set_ones[0]
    thinking = params.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if isinstance(budget, int) and budget >= default:
        return budget + default
    return default


def _listed(name: str, value: Any) -> list[Any]:
    """Return the value of the parameter `name` as a list. Raises `InvalidType` if it is not a sequence."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise InvalidType(f"`{name}` must be a list, not `{type(value).__name__}`.")


def encode_tool(tool: Any) -> JSON:
    """Return a tool in Anthropic's form. OpenAI's functions are converted; Anthropic's own tools are unchanged.

    Raises `InvalidType` or `InvalidArgument` for any other value.
    """
    if not isinstance(tool, Mapping):
        raise InvalidType(
            f"A tool must be a dict here, not `{type(tool).__name__}`: see `bind_tools`."
        )
    if tool.get("type") == "function":
        function = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
    elif "parameters" in tool and "input_schema" not in tool and "type" not in tool:
        function = tool
    elif "name" in tool or "type" in tool:
        return dict(tool)
    else:
        raise InvalidArgument(
            "A tool needs a `name`, or the `type` of one of Anthropic's own tools."
        )
    if not isinstance(function.get("name"), str):
        raise InvalidArgument("A tool of type `function` needs a `name`.")
    converted: JSON = {"name": function["name"]}
    if function.get("description"):
        converted["description"] = function["description"]
    converted["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict"):
        converted["strict"] = True
    return converted | {key: tool[key] for key in _TOOL_KEYS if key in tool}


# The keys that Anthropic's tools have and OpenAI's have not (anthropic 2.11, `ToolParam`).
_TOOL_KEYS = (
    "allowed_callers",
    "cache_control",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
)


def _tool_choice(params: JSON, *, has_tools: bool) -> JSON | None:
    """Remove `tool_choice` and `parallel_tool_calls`; return both as Anthropic's tool choice, or None without them."""
    parallel = params.pop("parallel_tool_calls", None)
    choice = encode_tool_choice(params.pop("tool_choice")) if "tool_choice" in params else None
    if parallel is False and (has_tools or choice is not None):
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return choice


def encode_tool_choice(choice: Any) -> JSON | None:
    """Return Anthropic's form of a tool choice: `auto`, `any`, `required`, `none`, a tool's name or a dict.

    None stays None. Raises `InvalidType` or `InvalidArgument` for an invalid choice.
    """
    if choice is None:
        return None
    if isinstance(choice, Mapping) and choice.get("type") != "function":
        return dict(choice)
    word, name = read_choice(choice)
    if name:
        return {"type": word, "name": name}
    return {"type": word}


_OUTPUT_NAMES = frozenset(("effort", "output_config", "output_format", "response_format"))


def _output_config(params: JSON) -> JSON:
    """Remove the parameters about the output (`effort` and the answer's schema), and return them as `output_config`."""
    config = params.pop("output_config", None) or {}
    if not isinstance(config, Mapping):
        raise InvalidType(f"`output_config` must be a dict, not `{type(config).__name__}`.")
    config = dict(config)
    if "effort" in params:
        config = {"effort": params.pop("effort"), **config}
    for name in ("output_format", "response_format"):
        if name in params and (form := _output_format(params.pop(name))) is not None:
            config["format"] = form
    return config


def _output_format(form: Any) -> JSON | None:
    """Return Anthropic's form of OpenAI's `response_format` with a JSON schema; None for text, which is the default.

    Wire format: https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs, read 2026-11.
    """
    inner = read_form(form, "The Anthropic Messages API")
    if inner is None:
        return None
    return {"type": "json_schema", "schema": dict(inner["schema"])}


# For each parameter in beta: the feature that the header `anthropic-beta` must name. They are the parameters that only
# the beta types of `anthropic` 2.11 have, as of 2026-11, and some that left beta in the API version of the SDK
# (2026-10-21), but not in ours: `speed`, `skills`, files by id, profiles, the first code execution. A feature that is
# not needed does no harm.
FEATURE_OF_PARAMETER = {
    "anthropic-user-profile-id": "user-profiles-2026-03-24",  # a header
    "billing_policy": "user-profiles-billing-2026-10-01",
    "compaction": "compact-2026-09-04",
    "fallback_credit_token": "fallback-credit-2026-07-01",
    "fallbacks": "server-side-fallback-2026-07-01",
    "mcp_servers": "mcp-client-2025-11-20",
    "speed": "fast-mode-2026-02-01",
    "thread": "message-threads-2026-08-12",
}
# For each `type` of a tool, or of an edit of `context_management`, in beta: the feature that the header must name.
FEATURE_OF_TYPE = {
    "advisor_20260301": "advisor-tool-2026-03-01",
    "bash_20241022": "computer-use-2024-10-22",
    "code_execution_20250522": "code-execution-2025-05-22",
    "computer_20241022": "computer-use-2024-10-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
    "mcp_toolset": "mcp-client-2025-11-20",
    "text_editor_20241022": "computer-use-2024-10-22",
    "clear_thinking_20251015": "context-management-2025-06-27",
    "clear_tool_uses_20250919": "context-management-2025-06-27",
    "compact_20260112": "compact-2026-01-12",
}


def features_needed(body: Fields, named: Iterable[str]) -> list[str]:
    """Return the beta features that a body needs and that are not in `named`, whatever date they have there."""
    needed = [FEATURE_OF_PARAMETER[name] for name in FEATURE_OF_PARAMETER if name in body]
    if "tools" in body:
        needed += _by_type(body["tools"])
    if "context_management" in body:
        needed += _by_type(_part(body, "context_management", "edits"))
    if "output_config" in body and _part(body, "output_config", "task_budget"):
        needed.append("task-budgets-2026-03-13")
    if "container" in body and _part(body, "container", "skills"):
        needed.append("skills-2025-10-02")
    for turn in body["messages"]:
        if turn["content"].__class__ is not str and any(map(_is_file, turn["content"])):
            needed.append("files-api-2025-04-14")
    if not needed:
        return needed
    known = {_undated(feature) for feature in named}
    return [feature for feature in dict.fromkeys(needed) if _undated(feature) not in known]


def _by_type(items: Any) -> list[str]:
    if not isinstance(items, Sequence):
        return []
    return [FEATURE_OF_TYPE[kind] for kind in map(type_of, items) if kind in FEATURE_OF_TYPE]


def _part(body: Fields, name: str, part: str) -> Any:
    whole = body.get(name)
    if isinstance(whole, Mapping):
        return whole.get(part)
    return None


def _is_file(block: Fields) -> bool:
    source = block.get("source")
    is_stored = source is not None and type_of(source) == "file"
    return is_stored or block["type"] == "container_upload"


def _undated(feature: str) -> str:
    """Return the name of a beta feature without its date."""
    return re.sub(r"-\d{4}-\d\d-\d\d$", "", feature)
