"""Modules that the first call of a model does not need: each is loaded when one of its names is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire import profiles, prompt_values
    from modelwire.adapters.model import (
        background,
        cache,
        cache_keys,
        context_check,
        generation,
        sdk_clients,
        stored_prompts,
        stream_resume,
        structured_output,
    )
    from modelwire.adapters.model import tools as model_tools
    from modelwire.messages import validate_outgoing as outgoing
    from modelwire.runnables import background as loops
    from modelwire.transport.connections import warmup
else:
    background = lazy.module("modelwire.adapters.model.background")
    cache = lazy.module("modelwire.adapters.model.cache")
    cache_keys = lazy.module("modelwire.adapters.model.cache_keys")
    context_check = lazy.module("modelwire.adapters.model.context_check")
    generation = lazy.module("modelwire.adapters.model.generation")
    loops = lazy.module("modelwire.runnables.background")
    model_tools = lazy.module("modelwire.adapters.model.tools")
    outgoing = lazy.module("modelwire.messages.validate_outgoing")
    profiles = lazy.module("modelwire.profiles")
    prompt_values = lazy.module("modelwire.prompt_values")
    sdk_clients = lazy.module("modelwire.adapters.model.sdk_clients")
    stored_prompts = lazy.module("modelwire.adapters.model.stored_prompts")
    stream_resume = lazy.module("modelwire.adapters.model.stream_resume")
    structured_output = lazy.module("modelwire.adapters.model.structured_output")
    warmup = lazy.module("modelwire.transport.connections.warmup")

__all__ = [
    "background",
    "cache",
    "cache_keys",
    "context_check",
    "generation",
    "loops",
    "model_tools",
    "outgoing",
    "profiles",
    "prompt_values",
    "sdk_clients",
    "stored_prompts",
    "stream_resume",
    "structured_output",
    "warmup",
]
