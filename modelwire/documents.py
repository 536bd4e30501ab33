"""`Document`: a text with its metadata, as retrievers return it. A pure value."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.messages.serialised import LangChainForm

__all__ = ["Document"]
# Import paths below this module, as LangChain has them, are those of `modelwire.compat`.
__path__: list[str] = []


class Document(LangChainForm, BaseModel):
    """A text (`page_content`) with its `metadata`, such as its source."""

    model_config = ConfigDict(defer_build=True)
    LC_NAMESPACE: ClassVar = ("langchain", "schema", "document")

    id: str | None = Field(default=None, coerce_numbers_to_str=True)
    metadata: dict[Any, Any] = Field(default_factory=dict)
    page_content: str
    type: Literal["Document"] = "Document"

    def __init__(self, page_content: str, **kwargs: Any) -> None:
        for name in kwargs.keys() - type(self).model_fields.keys():
            hint = did_you_mean(name, list(type(self).model_fields))
            # A name that is not similar to a field is dropped, as scripts expect.
            if hint.startswith("Did you mean"):
                raise InvalidArgument(f"`{type(self).__name__}` has no field `{name}`. {hint}")
        try:
            super().__init__(page_content=page_content, **kwargs)
        except ValidationError as exc:
            wrong = "; ".join(
                f"`{'.'.join(map(str, error['loc']))}`: {error['msg']}, not `{_kind(error['input'])}`"
                for error in exc.errors(include_url=False, include_context=False)
            )
            raise InvalidArgument(
                f"`{type(self).__name__}` cannot be created from these values: {wrong}."
            ) from exc

    def __str__(self) -> str:
        about = f" metadata={self.metadata}" if self.metadata else ""
        return f"page_content={self.page_content!r}{about}"

    def __repr_args__(self) -> Any:
        # Fields that are not set are left out, and the long text comes last.
        shown = {"id": self.id, "metadata": self.metadata, "page_content": self.page_content}
        return [(name, value) for name, value in shown.items() if value is not None]


def _kind(value: object) -> str:
    return type(value).__name__
