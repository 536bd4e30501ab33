"""What a model can do, in the words of LangChain's `ModelProfile`."""

from __future__ import annotations

from typing import Any, get_type_hints

from langchain_core.language_models.model_profile import ModelProfile


def profile_of(model: Any) -> dict[str, Any] | None:
    """Return what is known of `model`, but for what LangChain has no name for; None where nothing is."""
    names = get_type_hints(ModelProfile)
    return {
        name: value
        for name, value in (getattr(model, "profile", None) or {}).items()
        if name in names
    } or None
