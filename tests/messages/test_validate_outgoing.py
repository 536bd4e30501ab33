"""Content blocks are checked alike on all wires, before anything is sent."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import InvalidArgument
from modelwire.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    from_path,
    from_url,
)
from modelwire.messages.validate_outgoing import validate_outgoing
from modelwire.testing import ProviderServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PDF = b"%PDF-1.4 \x00\xff"
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt \xff"
WIRES: dict[str, Any] = {
    "chat": ChatOpenAI(model="m", api_key="k"),
    "responses": ChatOpenAI(model="m", api_key="k", use_responses_api=True),
    "anthropic": ChatAnthropic(model="m", api_key="k"),
}


def sent(wire: str, *blocks: Any) -> str:
    """The body of a request with these blocks, as it goes out."""
    from pydantic_core import to_json

    return to_json(WIRES[wire].build_request([HumanMessage(list(blocks))]).body).decode()


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": PNG, "mime_type": "image/png"},
        {"type": "image", "base64": bytearray(PNG), "mime_type": "image/png"},
        {"type": "image", "base64": b64encode(PNG), "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
    ],
    ids=["raw", "bytearray", "bytes of base64", "older", "anthropic's", "file"],
)
def test_bytes_are_sent_as_base64_text(wire: str, block: dict[str, Any]) -> None:
    before = dict(block)
    data = PDF if block["type"] == "file" else PNG
    assert b64encode(data).decode() in sent(wire, {"type": "text", "text": "Look:"}, block)
    assert block == before


def test_what_is_sent_is_the_same_as_with_text() -> None:
    for wire in WIRES:
        as_bytes = sent(wire, {"type": "image", "base64": PNG, "mime_type": "image/png"})
        as_text = sent(
            wire, {"type": "image", "base64": b64encode(PNG).decode(), "mime_type": "image/png"}
        )
        assert as_bytes == as_text


@pytest.mark.parametrize("wire", WIRES)
def test_bytes_that_may_be_either_and_bytes_elsewhere_are_refused_with_what_to_write(
    wire: str,
) -> None:
    with pytest.raises(InvalidArgument, match=r"b64encode\(data\)\.decode\(\)"):
        sent(wire, {"type": "file", "base64": b"abcd", "mime_type": "text/plain"})
    with pytest.raises(
        InvalidArgument, match=r"`file_data` of a `None` block holds bytes.*\"base64\": data"
    ):
        sent(wire, {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}})


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("wrong", "right"), [("imgae", "image"), ("txt", "text"), ("text-plian", "text-plain")]
)
def test_an_unknown_type_is_said_with_the_close_matches(wire: str, wrong: str, right: str) -> None:
    for message in (HumanMessage, SystemMessage):
        with pytest.raises(
            InvalidArgument, match=rf"type `{wrong}`. Did you mean.*`{right}`.*non_standard"
        ):
            WIRES[wire].build_request([HumanMessage("hi"), message([{"type": wrong, "text": "x"}])])


def test_what_models_and_tools_have_said_is_not_judged() -> None:
    messages = [
        HumanMessage("hi"),
        AIMessage(
            [{"type": "brand_new_block", "text": "x"}],
            tool_calls=[{"name": "f", "args": {}, "id": "1"}],
        ),
        ToolMessage([{"type": "a row of a table", "value": 1}], tool_call_id="1"),
    ]
    assert validate_outgoing(messages) is messages


def test_every_type_that_a_codec_takes_is_known() -> None:
    from modelwire.adapters.wires.anthropic import blocks_from_wire as anthropic_reader
    from modelwire.adapters.wires.anthropic import blocks_to_wire as anthropic
    from modelwire.adapters.wires.openai_chat import blocks_to_wire as chat
    from modelwire.adapters.wires.openai_responses import blocks_from_wire as responses_reader
    from modelwire.adapters.wires.openai_responses import blocks_to_wire as responses

    types = {
        *anthropic.TO_WIRE,
        *anthropic.NO_WIRE,
        *anthropic.RESULT_TYPES,
        *chat.TO_WIRE,
        *chat.OWN_PARTS,
    }
    types |= {*responses.OWN_PARTS, *responses_reader.OWN_TYPES, *responses_reader.FROM_WIRE}
    types |= {*anthropic_reader.FROM_WIRE, *anthropic_reader.OWN_TYPES}
    message = HumanMessage([{"type": kind} for kind in sorted(types)])
    assert validate_outgoing([message]) == [message]


# ---------------------------------------------------------------- from files and URLs


@pytest.mark.parametrize(
    ("name", "data", "kind", "mime_type"),
    [
        ("photo.png", PNG, "image", "image/png"),
        ("photo.JPG", b"\xff\xd8\xff\xe0", "image", "image/jpeg"),
        (
            "photo.png",
            b"\xff\xd8\xff\xe0",
            "image",
            "image/jpeg",
        ),  # what it is, not what it is called
        ("paper.pdf", PDF, "file", "application/pdf"),
        ("paper", PDF, "file", "application/pdf"),
        ("call.wav", WAV, "audio", "audio/wav"),
        ("call.mp3", b"ID3", "audio", "audio/mpeg"),
        ("film.mp4", b"\x00\x00\x00 ftyp", "video", "video/mp4"),
        ("data.json", b"{}", "file", "application/json"),
    ],
)
def test_a_file_becomes_a_block_with_its_media_type(
    tmp_path: Path, name: str, data: bytes, kind: str, mime_type: str
) -> None:
    (tmp_path / name).write_bytes(data)
    block: Any = from_path(tmp_path / name)
    assert (block["type"], block["mime_type"]) == (kind, mime_type)
    assert b64decode(block["base64"]) == data


def test_a_text_file_becomes_its_text(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_bytes(b"\xef\xbb\xbf# Notes")
    block: Any = from_path(str(tmp_path / "notes.md"))
    assert (block["type"], block["text"], block["title"]) == ("text-plain", "# Notes", "notes.md")
    (tmp_path / "notes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        from_path(tmp_path / "notes.txt")


@pytest.mark.parametrize("wire", WIRES)
def test_every_wire_takes_what_the_helpers_make(tmp_path: Path, wire: str) -> None:
    for name, data in (("photo.png", PNG), ("paper.pdf", PDF), ("notes.txt", b"Notes")):
        (tmp_path / name).write_bytes(data)
        body = json.loads(sent(wire, from_path(tmp_path / name)))
        shown = json.dumps(body)
        assert (b64encode(data).decode() if name != "notes.txt" else "Notes") in shown
        assert name == "photo.png" or wire != "chat" or name == "notes.txt" or "paper.pdf" in shown
    assert "https://example.com/photo.png" in sent(wire, from_url("https://example.com/photo.png"))
    assert b64encode(PNG).decode() in sent(
        wire, from_url(f"data:image/png;base64,{b64encode(PNG).decode()}")
    )


@pytest.mark.parametrize(
    ("url", "options", "kind"),
    [
        ("https://example.com/a.PDF?x=1#p", {}, "file"),
        ("HTTPS://example.com/photo", {"mime_type": "image/png"}, "image"),
        ("https://example.com/a.mp3", {}, "audio"),
    ],
)
def test_a_url_becomes_a_block(url: str, options: Any, kind: str) -> None:
    block: Any = from_url(url, **options)
    assert (block["type"], block["url"]) == (kind, url)


def test_what_cannot_be_told_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "photo.pgn").write_bytes(b"?")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "fake.png").write_bytes(b"text")
    (tmp_path / "fake.pdf").write_bytes(b"text")
    for make, said in (
        (lambda: from_path(tmp_path / "photo.pgn9"), "cannot be read: No such file"),
        (lambda: from_path(tmp_path / "empty.png"), "is empty"),
        (
            lambda: from_path(tmp_path / "fake.png"),
            "`.*fake.png` is not `image/png`.*it begins with b'text'",
        ),
        (lambda: from_path(tmp_path / "fake.pdf"), "is not `application/pdf`"),
        (lambda: from_url("https://example.com/photo"), "has no known media type"),
        (lambda: from_url("photo.png"), "use `from_path`"),
        (lambda: from_url("ftp://example.com/photo.png"), "neither `https://`"),
        (lambda: from_url("data:image/png,abc"), "of the form"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            make()
    assert from_path(tmp_path / "photo.pgn", mime_type="image/png")["type"] == "image"


DOCX = {
    "type": "file",
    "base64": b64encode(b"PK\x03\x04").decode(),
    "mime_type": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "filename": "report.docx",
}


def image_of(megabytes: int) -> dict[str, Any]:
    return {"type": "image", "base64": "A" * (megabytes * 4_000_000 // 3), "mime_type": "image/png"}


@pytest.mark.parametrize(
    ("wire", "block", "text"),
    [
        ("anthropic", image_of(30), r"An image has 30\.0 MB, but the Anthropic .* at most 5\.2 MB"),
        ("bedrock", image_of(30), r"at most 3\.8 MB: make it smaller"),
        (
            "openai",
            DOCX,
            r"wordprocessingml\.document`, but Chat Completions .* does not read office",
        ),
        ("gemini", DOCX, "send it as PDF or text"),
    ],
)
def test_a_file_that_the_provider_rejects_warns_before_it_is_sent(
    wire: Any, block: dict[str, Any], text: str
) -> None:
    with ProviderServer(default="x") as server, pytest.warns(UserWarning, match=text):
        server.model(wire).invoke([HumanMessage([block])])


@pytest.mark.parametrize(
    ("wire", "block"),
    [("anthropic", image_of(1)), ("responses", DOCX), ("bedrock", DOCX), ("gemini", image_of(1))],
)
def test_a_file_that_the_provider_reads_does_not_warn(wire: Any, block: dict[str, Any]) -> None:
    with ProviderServer(default="x") as server:
        assert server.model(wire).invoke([HumanMessage(["hi", block])]).text == "x"


def test_another_service_of_the_wire_may_have_other_limits() -> None:
    with ProviderServer(default="x") as server:
        model = server.model("openai", provider="mistralai")
        assert model.invoke([HumanMessage([DOCX])]).text == "x"
