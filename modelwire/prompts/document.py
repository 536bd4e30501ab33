"""Say a document in a prompt's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.errors import MissingVariable

if TYPE_CHECKING:
    from modelwire.documents import Document
    from modelwire.prompts.base import BasePromptTemplate

__all__ = ["aformat_document", "format_document"]


def format_document(doc: Document, prompt: BasePromptTemplate[str]) -> str:
    """Fill `prompt` with the document's `page_content` and metadata, of which it may use any part.

    Raises `MissingVariable` where it asks for metadata the document does not have.
    """
    return prompt.format(**_values(doc, prompt))


async def aformat_document(doc: Document, prompt: BasePromptTemplate[str]) -> str:
    """Do what `format_document` does, with `await`."""
    return await prompt.aformat(**_values(doc, prompt))


def _values(doc: Document, prompt: BasePromptTemplate[str]) -> dict[str, Any]:
    known = {"page_content": doc.page_content, **doc.metadata}
    missing = sorted(set(prompt.input_variables) - set(known))
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise MissingVariable(f"The prompt asks for {names}, and the document has only {', '.join(sorted(known))}.")
    return {name: known[name] for name in prompt.input_variables}
