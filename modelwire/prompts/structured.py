"""A chat prompt with a schema for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from modelwire.aliases import Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.prompts.chat import ChatPromptTemplate, MessageLikeRepresentation
from modelwire.runnables.sequence import RunnableSequence

__all__ = ["StructuredPrompt"]


class StructuredPrompt(ChatPromptTemplate):
    """A chat prompt for a model's `with_structured_output`: `prompt | model` returns data of the form `schema_`.

    Other keywords go to `with_structured_output`.

    Example:
        (StructuredPrompt([("human", "Tell a joke about {topic}.")], Joke) | model).invoke({"topic": "rain"})
    """

    schema_: Any
    structured_output_kwargs: dict[str, Any] = Field(default_factory=dict)

    def __init__(
        self,
        messages: Sequence[MessageLikeRepresentation],
        schema_: Any = None,
        *,
        structured_output_kwargs: Values | None = None,
        template_format: str = "f-string",
        **kwargs: Any,
    ) -> None:
        schema = schema_ or kwargs.pop("schema", None)
        if not schema:
            raise InvalidArgument(
                f"Must pass in a non-empty structured output schema. Received: {schema!r}"
            )
        own = type(self).model_fields
        options = {name: kwargs.pop(name) for name in list(kwargs) if name not in own}
        super().__init__(
            messages,
            template_format=template_format,
            schema_=schema,
            structured_output_kwargs={**(structured_output_kwargs or {}), **options},
            **kwargs,
        )

    @classmethod
    def from_messages_and_schema(
        cls, messages: Sequence[MessageLikeRepresentation], schema: Any, **kwargs: Any
    ) -> StructuredPrompt:
        """Return a prompt of messages and the schema of the answer."""
        return cls(messages, schema, **kwargs)

    def __or__(self, other: Any) -> RunnableSequence:
        """Return a chain of the prompt and a model with structured output.

        Raises: `InvalidType` for anything but a model.
        """
        return self.pipe(other)

    def pipe(self, *others: Any, name: str | None = None) -> RunnableSequence:
        """Return a chain of the prompt, a model with structured output, and `others` after it.

        Raises: `InvalidType` if the first of them is not a model.
        """
        model, *more = others
        bind = getattr(model, "with_structured_output", None)
        if bind is None:
            raise InvalidType(
                f"Structured prompts need to be piped to a language model, not to a `{type(model).__name__}`."
            )
        return super().pipe(bind(self.schema_, **self.structured_output_kwargs), *more, name=name)
