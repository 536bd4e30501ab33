"""Converts the profile of a model (its limits and abilities) to LangChain's `ModelProfile`."""

from __future__ import annotations

from typing import Any, get_type_hints

from langchain_core.language_models.model_profile import ModelProfile

from modelwire.aliases import JSON


def profile_of(model: Any) -> JSON | None:
    """Return the fields of a model's profile that LangChain's `ModelProfile` has, too; None if there are none."""
    names = get_type_hints(ModelProfile)
    profile = getattr(model, "profile", None) or {}
    return {name: value for name, value in profile.items() if name in names} or None
