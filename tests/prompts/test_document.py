"""A document in a prompt's words."""

import asyncio

import pytest

from modelwire.documents import Document
from modelwire.errors import MissingVariable
from modelwire.prompts import PromptTemplate, aformat_document, format_document

DOC = Document("Volcanoes erupt.", metadata={"source": "geo", "page": 3})


def test_a_document_fills_a_prompt_with_its_text_and_metadata() -> None:
    prompt = PromptTemplate.from_template("[{source}] {page_content}")
    assert format_document(DOC, prompt) == "[geo] Volcanoes erupt."
    assert asyncio.run(aformat_document(DOC, prompt)) == "[geo] Volcanoes erupt."


def test_metadata_a_document_does_not_have_is_named() -> None:
    with pytest.raises(MissingVariable, match="`author`"):
        format_document(DOC, PromptTemplate.from_template("{author}: {page_content}"))
