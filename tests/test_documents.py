"""Documents: what they hold, what they show, what they refuse."""

from __future__ import annotations

import pytest

from modelwire.documents import Document
from modelwire.errors import InvalidArgument


def test_the_text_may_stand_without_its_name() -> None:
    assert Document("a") == Document(page_content="a", metadata={}, id=None)


def test_a_dumped_document_reads_back() -> None:
    document = Document(page_content="a", metadata={"page": 3}, id="7")
    assert document.model_dump() == {
        "id": "7",
        "metadata": {"page": 3},
        "page_content": "a",
        "type": "Document",
    }
    assert Document(**document.model_dump()) == document


def test_a_number_is_an_id() -> None:
    assert Document("a", id=7).id == "7"


def test_each_document_has_metadata_of_its_own() -> None:
    one, other = Document("a"), Document("b")
    one.metadata["page"] = 1
    assert other.metadata == {}


def test_what_is_shown_leaves_out_what_is_not_known() -> None:
    assert str(Document("a", id="7")) == "page_content='a'"
    assert str(Document("a", metadata={"page": 3})) == "page_content='a' metadata={'page': 3}"
    assert repr(Document("a")) == "Document(metadata={}, page_content='a')"
    assert repr(Document("a", id="7")) == "Document(id='7', metadata={}, page_content='a')"


def test_a_text_that_is_none_is_refused_by_its_type() -> None:
    with pytest.raises(
        InvalidArgument, match="`page_content`: Input should be a valid string, not `NoneType`"
    ):
        Document(page_content=None)  # type: ignore[arg-type]


def test_a_misspelt_field_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"no field `metadta`\. Did you mean `metadata`\?"):
        Document("a", metadta={"page": 3})


def test_what_resembles_no_field_is_dropped() -> None:
    assert Document("a", score=0.5) == Document("a")
