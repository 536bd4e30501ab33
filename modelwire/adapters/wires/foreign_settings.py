"""Converts parameters of another wire to the common ones that every wire can express. No I/O here.

Only a call with a parameter of another wire loads this module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from modelwire.adapters.wires.json import in_snake_case
from modelwire.adapters.wires.parameter_adaptation import ParameterAdaptation
from modelwire.aliases import JSON

# The parameters of Gemini and Converse that hold several settings in a dict.
_CONFIGS = ("generationConfig", "generation_config", "inferenceConfig")
_THINKING = ("thinkingConfig", "thinking_config")
# The parameters of other wires that set a system prompt.
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
# The common name of each setting, by its name in snake_case.
_COMMON = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_output_tokens": "max_tokens",
    "max_tokens": "max_tokens",
    "stop_sequences": "stop",
    "candidate_count": "n",
}


def translate(adaptation: ParameterAdaptation, foreign: Collection[str]) -> None:
    """Rename the `foreign` parameters to their common names, in place. One without a common name stays."""
    params = adaptation.params
    for name in [name for name in params if name in foreign]:
        value = params[name]
        if name in (*_CONFIGS, *_THINKING) and isinstance(value, Mapping):
            rest: JSON = {}
            for key, part in value.items():
                if not _set_common(adaptation, name, in_snake_case(key), part):
                    rest[key] = part
            params[name] = rest
            if not rest:
                del params[name]
        elif _COMMON.get(name) == name:
            continue
        elif _set_common(adaptation, name, in_snake_case(name), value):
            del params[name]


def _set_common(adaptation: ParameterAdaptation, parameter: str, key: str, value: Any) -> bool:
    """Set the setting `key` of `parameter` under its common name. Return False if it has none."""
    if key == "thinking_config" and isinstance(value, Mapping):
        parts = [
            _set_common(adaptation, parameter, in_snake_case(name), it)
            for name, it in value.items()
        ]
        return all(parts)
    if key in _COMMON:
        name = _COMMON[key]
        common = value
    elif key == "response_json_schema":
        schema = {"name": "answer", "schema": value}
        name = "response_format"
        common = {"type": "json_schema", "json_schema": schema}
    elif key == "thinking_level" and isinstance(value, str):
        name = "reasoning_effort"
        common = value.lower()
    elif key == "thinking_budget" and isinstance(value, int) and value >= 0:
        name = "reasoning"
        common = {"budget_tokens": value}
    else:
        return False
    # A parameter of the call replaces one that the model was made with.
    if parameter in adaptation.call_parameters or name not in adaptation.params:
        adaptation.params[name] = common
    return True


def take_system_prompt(params: JSON, foreign: Collection[str]) -> str | None:
    """Remove and return the system prompt that a `foreign` parameter sets; None if there is none."""
    for name in _SYSTEM:
        if name in foreign and isinstance(params.get(name), str):
            return str(params.pop(name))
    return None
