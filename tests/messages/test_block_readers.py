"""Standard blocks are the hub: what one wire reads, every wire can send."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.wires.wire import WIRES, wire_named
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, HumanMessage, block_readers, block_translators

MODELS: dict[str, Any] = {
    "chat": ChatOpenAI(model="m", api_key="none"),
    "responses": ChatOpenAI(model="m", api_key="none", use_responses_api=True),
    "anthropic": ChatAnthropic(model="m", api_key="none"),
}
AT = "https://e.org/a"


def sent(wire: str, block: dict[str, Any]) -> Any:
    """Return the content that goes out for a user's message of this block."""
    body = MODELS[wire].build_request([HumanMessage([block])]).body
    return body["input" if wire == "responses" else "messages"][0]["content"]


@pytest.fixture
def toy_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a wire whose images have a shape of their own."""
    blocks: Any = ModuleType("toy_blocks")
    blocks.FROM_WIRE = {
        "toy_image": lambda block: {"type": "image", "url": block["at"]} if "at" in block else None
    }
    blocks.OWN_TYPES = frozenset({"toy_only"})
    wire: Any = ModuleType("toy_wire")
    wire.WIRE = wire_named("openai")._replace(name="toy blocks", blocks="toy_blocks")
    monkeypatch.setitem(sys.modules, "toy_blocks", blocks)
    monkeypatch.setitem(sys.modules, "toy_wire", wire)
    monkeypatch.setitem(
        WIRES, "toy blocks", "toy_wire"
    )  # `wire_named` remembers; "toy" is another test's


@pytest.mark.usefixtures("toy_wire")
def test_a_block_that_a_new_wire_reads_is_standard_and_goes_out_on_every_other() -> None:
    block = {"type": "toy_image", "at": AT}
    assert HumanMessage([block]).content_blocks == [{"type": "image", "url": AT}]
    assert sent("chat", block) == [{"type": "image_url", "image_url": {"url": AT}}]
    assert sent("responses", block) == [{"type": "input_image", "detail": "auto", "image_url": AT}]
    assert sent("anthropic", block) == [{"type": "image", "source": {"type": "url", "url": AT}}]


@pytest.mark.usefixtures("toy_wire")
@pytest.mark.parametrize("wire", ["chat", "anthropic"])
def test_a_block_of_a_new_wire_without_its_data_is_refused(wire: str) -> None:
    with pytest.raises(InvalidArgument, match=r"`toy_image`.*`url`"):
        sent(wire, {"type": "toy_image"})


@pytest.mark.parametrize("wire", MODELS)
def test_without_its_wire_such_a_block_is_unknown(wire: str) -> None:
    with pytest.raises(InvalidArgument, match="toy_image"):
        sent(wire, {"type": "toy_image", "at": AT})


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source_type": "url", "url": AT},
        {"type": "image", "source": {"type": "url", "url": AT}},
        {"type": "image_url", "image_url": {"url": AT}},
        {"type": "document", "source": {"type": "text", "data": "a"}},
        {"type": "refusal", "refusal": "no"},
    ],
    ids=lambda block: block["type"],
)
@pytest.mark.parametrize("extras", [None, "x", 3])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "nobody"])
def test_extras_that_are_no_dict_are_left_out(
    block: dict[str, Any], extras: object, provider: str
) -> None:
    """A history from a file may have anything there."""
    odd = AIMessage([{**block, "extras": extras}], response_metadata={"model_provider": provider})
    plain = AIMessage([block], response_metadata={"model_provider": provider})
    (found,), (wanted,) = odd.content_blocks, plain.content_blocks
    if wanted["type"] == "non_standard":  # the provider's own, whatever it holds
        assert found["type"] == "non_standard"
    else:
        assert {**found, "extras": None} == {**wanted, "extras": None}


def test_a_document_in_base64_reaches_the_responses_api_as_a_file() -> None:
    """It became an empty text."""
    block = {"type": "text-plain", "base64": "YQ==", "mime_type": "text/plain"}
    (part,) = sent("responses", block)
    assert part == {
        "type": "input_file",
        "filename": "file.plain",
        "file_data": "data:text/plain;base64,YQ==",
    }


@pytest.mark.parametrize(
    ("block", "standard"),
    [
        ({"type": "input_text", "text": "a"}, {"type": "text", "text": "a"}),
        ({"type": "input_image", "image_url": AT}, {"type": "image", "url": AT}),
        ({"type": "input_image", "file_id": "f"}, {"type": "image", "file_id": "f"}),
        ({"type": "input_file", "file_url": AT}, {"type": "file", "url": AT}),
        (
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,AA",
                "filename": "a.pdf",
            },
            {
                "type": "file",
                "base64": "AA",
                "mime_type": "application/pdf",
                "extras": {"filename": "a.pdf"},
            },
        ),
    ],
)
def test_parts_of_the_responses_api_are_read_as_standard_blocks(block: Any, standard: Any) -> None:
    assert HumanMessage([block]).content_blocks == [standard]


def test_the_reader_of_a_provider_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(block_readers, "reader_of_provider", asked.append)
    block_translators.translator_of_row.cache_clear()
    for _ in range(3):
        message = AIMessage("hello", response_metadata={"model_provider": "mistralai"})
        assert message.content_blocks == [{"type": "text", "text": "hello"}]
    assert asked == ["mistralai"]
    block_translators.translator_of_row.cache_clear()
