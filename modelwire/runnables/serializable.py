"""`RunnableSerializable`: a Runnable whose parameters are the fields of a pydantic model."""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from modelwire.messages.serialised import LangChainForm
from modelwire.runnables.base import Input, Output, Runnable

__all__ = ["RunnableSerializable"]


class RunnableSerializable(LangChainForm, BaseModel, Runnable[Input, Output]):
    """A Runnable that is also a pydantic model: subclass it and annotate the fields.

    `RunnableSerializable[str, int]` is only for the type checker: unlike pydantic's own generics it
    creates no class.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, defer_build=True, protected_namespaces=()
    )

    name: str | None = None
    """The name of the step in runs, events and graphs."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: Any) -> GenericAlias:
            return GenericAlias(cls, parameters)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        # Otherwise pydantic requires the type variables of a base to be repeated in `Generic[...]`.
        cls.__pydantic_generic_metadata__["parameters"] = ()


RunnableSerializable.__pydantic_generic_metadata__["parameters"] = ()
