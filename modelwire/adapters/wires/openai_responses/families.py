"""The families of OpenAI's models on the Responses API, which are those of Chat Completions. Data only."""

from __future__ import annotations

from modelwire.adapters.wires.families import ModelFamilies, fit_at
from modelwire.adapters.wires.openai_chat.families import OPENAI

FAMILIES = ModelFamilies(
    {"openai": OPENAI, "azure_openai": OPENAI},
    fit_at("modelwire.adapters.wires.openai_chat.parameter_adaptation:fit_responses"),
)
