"""Lists the parameters that Google's models reject although the Gemini API has them. Data only, read 2026-11."""

from __future__ import annotations

from modelwire.adapters.wires.families import LOW_TO_HIGH, Family, ModelFamilies, fit_at

_THINKING = "https://ai.google.dev/gemini-api/docs/thinking"
_MINIMAL_TO_HIGH = ("minimal", *LOW_TO_HIGH)

# `thinking` is the parameter that sets how much a model thinks: a budget of tokens or a level. `off=None`: the model
# always thinks.
_GEMINI = (
    Family("gemini-1* gemini-2.0* gemma* learnlm*", _THINKING),
    Family(
        "gemini-2.5-flash-image* gemini-2.5-flash-preview-tts* gemini-2.5-pro-preview-tts*",
        _THINKING,
    ),
    Family("gemini-2.5-pro*", _THINKING, _MINIMAL_TO_HIGH, thinking=("budget",), off=None),
    Family("gemini-2.5-flash*", _THINKING, ("none", *_MINIMAL_TO_HIGH), thinking=("budget",)),
    Family("gemini-3-pro*", _THINKING, ("low", "high"), thinking=("level",), off=None),
    Family("gemini-3.1-pro*", _THINKING, LOW_TO_HIGH, thinking=("level",), off=None),
    # All later models, and names without a number (`gemini-flash-latest`).
    Family("gemini-*", _THINKING, _MINIMAL_TO_HIGH, thinking=("level",), off=None),
)
# The smallest and the largest thinking budget in tokens, by a part of the model's name. The first that matches is used.
BUDGETS_OF = {
    "gemini-2.5-pro": (128, 32_768),
    "gemini-2.5-flash-lite": (512, 24_576),
    "gemini-2.5": (1, 24_576),
}


FAMILIES = ModelFamilies(
    {
        # The parameter that only the other service has: google-genai 3.4, `_GenerateContentConfig_to_mldev` and
        # `_to_vertex`.
        "google_genai": tuple(
            family._replace(refuses=(*family.refuses, "generation_output_config"))
            for family in _GEMINI
        ),
        "google_vertexai": tuple(
            family._replace(refuses=(*family.refuses, "store")) for family in _GEMINI
        ),
    },
    fit_at("modelwire.adapters.wires.gemini.parameter_adaptation:fit"),
    base_name=lambda model: model.rpartition("/")[2],
)
