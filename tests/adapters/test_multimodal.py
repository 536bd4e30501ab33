"""One set of content blocks for every wire: what a user shows is said in each provider's words, or refused by name."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import AIMessage, HumanMessage, ToolMessage

MODELS: dict[str, Any] = {
    "chat": ChatOpenAI(model="m", api_key="none"),
    "anthropic": ChatAnthropic(model="m", api_key="none"),
    "responses": ChatOpenAI(model="m", api_key="none", use_responses_api=True),
}
PNG, PDF, WAV = "iVBORw0KGgo=", "JVBERi0xLjQ=", "UklGRg=="
PNG_URL, PDF_URL = f"data:image/png;base64,{PNG}", f"data:application/pdf;base64,{PDF}"
AT = "https://e.org/a"


def chat_image(url: str, **more: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def chat_file(**file: str) -> dict[str, Any]:
    return {"type": "file", "file": file}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def by_anthropic(kind: str, source: str, **more: str) -> dict[str, Any]:
    return {"type": kind, "source": {"type": source, **more}}


CHAT_PNG, CHAT_AT, CHAT_BY_ID = chat_image(PNG_URL), chat_image(AT), chat_file(file_id="file_1")
CHAT_PDF = chat_file(filename="a.pdf", file_data=PDF_URL)
CHAT_WAV = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
A_PNG = by_anthropic("image", "base64", media_type="image/png", data=PNG)
A_AT = by_anthropic("image", "url", url=AT)
A_IMAGE_BY_ID = by_anthropic("image", "file", file_id="file_1")
A_PDF = {
    **by_anthropic("document", "base64", media_type="application/pdf", data=PDF),
    "title": "a.pdf",
}
A_PDF_AT = by_anthropic("document", "url", url=AT)
A_FILE_BY_ID = by_anthropic("document", "file", file_id="file_1")
A_TEXT = by_anthropic("document", "text", media_type="text/plain", data="a")

NO_FILE_URL = "files as base64 or by `file_id`, not by URL"
NO_AUDIO, NO_VIDEO = "takes no audio", "takes no video"
ONLY_BASE64 = "audio as base64 only"
NO_WORDS = "does not take a block of type"

# name: a block, and what it is in Chat Completions and with Anthropic: a block there, or the words of the refusal.
BLOCKS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    # standard blocks (LangChain v1)
    "image by URL": ({"type": "image", "url": AT}, CHAT_AT, A_AT),
    "image in base64": (
        {"type": "image", "base64": PNG, "mime_type": "image/png"},
        CHAT_PNG,
        A_PNG,
    ),
    "image by id": ({"type": "image", "file_id": "file_1"}, CHAT_BY_ID, A_IMAGE_BY_ID),
    "image with detail": (
        {"type": "image", "url": AT, "extras": {"detail": "low"}},
        chat_image(AT, detail="low"),
        A_AT,
    ),
    "audio in base64": (
        {"type": "audio", "base64": WAV, "mime_type": "audio/wav"},
        CHAT_WAV,
        NO_AUDIO,
    ),
    "audio by URL": ({"type": "audio", "url": AT}, ONLY_BASE64, NO_AUDIO),
    "audio by id": ({"type": "audio", "file_id": "file_1"}, ONLY_BASE64, NO_AUDIO),
    "video by URL": ({"type": "video", "url": AT}, NO_WORDS, NO_VIDEO),
    "file by URL": ({"type": "file", "url": AT}, NO_FILE_URL, A_PDF_AT),
    "file in base64": (
        {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
        CHAT_PDF,
        A_PDF,
    ),
    "file with its name in extras": (
        {
            "type": "file",
            "base64": PDF,
            "mime_type": "application/pdf",
            "extras": {"filename": "a.pdf"},
        },
        CHAT_PDF,
        A_PDF,
    ),
    "file by id": ({"type": "file", "file_id": "file_1"}, CHAT_BY_ID, A_FILE_BY_ID),
    "plain text": (
        {"type": "text-plain", "text": "a", "mime_type": "text/plain"},
        text("a"),
        A_TEXT,
    ),
    # data blocks (LangChain v0)
    "v0 image by URL": ({"type": "image", "source_type": "url", "url": AT}, CHAT_AT, A_AT),
    "v0 image": (
        {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
        CHAT_PNG,
        A_PNG,
    ),
    "v0 audio": (
        {"type": "audio", "source_type": "base64", "data": WAV, "mime_type": "audio/wav"},
        CHAT_WAV,
        NO_AUDIO,
    ),
    "v0 file": (
        {
            "type": "file",
            "source_type": "base64",
            "data": PDF,
            "mime_type": "application/pdf",
            "metadata": {"filename": "a.pdf"},
        },
        CHAT_PDF,
        A_PDF,
    ),
    "v0 file by id": (
        {"type": "file", "source_type": "id", "id": "file_1"},
        CHAT_BY_ID,
        A_FILE_BY_ID,
    ),
    "v0 text": ({"type": "file", "source_type": "text", "text": "a"}, text("a"), A_TEXT),
    # OpenAI's: Chat Completions, then Responses
    "OpenAI image": (chat_image(AT, detail="low"), chat_image(AT, detail="low"), A_AT),
    "OpenAI image in base64": (CHAT_PNG, CHAT_PNG, A_PNG),
    "OpenAI file": (CHAT_PDF, CHAT_PDF, A_PDF),
    "OpenAI file by id": (CHAT_BY_ID, CHAT_BY_ID, A_FILE_BY_ID),
    "OpenAI audio": (CHAT_WAV, CHAT_WAV, NO_AUDIO),
    "Responses text": ({"type": "input_text", "text": "a"}, text("a"), text("a")),
    "Responses image": (
        {"type": "input_image", "image_url": AT, "detail": "low"},
        chat_image(AT, detail="low"),
        A_AT,
    ),
    "Responses image in base64": ({"type": "input_image", "image_url": PNG_URL}, CHAT_PNG, A_PNG),
    "Responses image by id": (
        {"type": "input_image", "file_id": "file_1"},
        CHAT_BY_ID,
        A_IMAGE_BY_ID,
    ),
    "Responses file": (
        {"type": "input_file", "file_data": PDF_URL, "filename": "a.pdf"},
        CHAT_PDF,
        A_PDF,
    ),
    "Responses file by id": ({"type": "input_file", "file_id": "file_1"}, CHAT_BY_ID, A_FILE_BY_ID),
    "Responses file by URL": ({"type": "input_file", "file_url": AT}, NO_FILE_URL, A_PDF_AT),
    # Anthropic's
    "Anthropic image by URL": (A_AT, CHAT_AT, A_AT),
    "Anthropic image": (A_PNG, CHAT_PNG, A_PNG),
    "Anthropic image by id": (A_IMAGE_BY_ID, CHAT_BY_ID, A_IMAGE_BY_ID),
    "Anthropic document": (A_PDF, CHAT_PDF, A_PDF),
    "Anthropic document by URL": (A_PDF_AT, NO_FILE_URL, A_PDF_AT),
    "Anthropic document of text": (A_TEXT, text("a"), A_TEXT),
    "Anthropic document by id": (A_FILE_BY_ID, CHAT_BY_ID, A_FILE_BY_ID),
    # what nobody can send
    "image without its kind": (
        {"type": "image", "base64": PNG},
        "needs `mime_type`",
        "needs its `mime_type`",
    ),
    "image of nothing": ({"type": "image"}, "needs one of `url`", "needs `url`"),
}
R_IMAGE = {"type": "input_image", "detail": "auto"}
R_AT, R_PNG, R_IMAGE_BY_ID = (
    {**R_IMAGE, **more}
    for more in (
        {"image_url": AT},
        {"image_url": PNG_URL},
        {"file_id": "file_1"},
    )
)
R_LOW = {**R_AT, "detail": "low"}
R_PDF = {"type": "input_file", "filename": "a.pdf", "file_data": PDF_URL}
R_PDF_AT, R_FILE_BY_ID = (
    {"type": "input_file", "file_url": AT},
    {"type": "input_file", "file_id": "file_1"},
)
R_TEXT = {"type": "input_text", "text": "a"}
# The same blocks with the Responses API.
RESPONSES: dict[str, Any] = {
    **dict.fromkeys(("image by URL", "v0 image by URL", "Anthropic image by URL"), R_AT),
    **dict.fromkeys(
        ("image in base64", "v0 image", "OpenAI image in base64", "Anthropic image"), R_PNG
    ),
    **dict.fromkeys(("image by id", "Anthropic image by id"), R_IMAGE_BY_ID),
    **dict.fromkeys(("image with detail", "OpenAI image", "Responses image"), R_LOW),
    "Responses image in base64": {"type": "input_image", "image_url": PNG_URL},  # as it was said
    "Responses image by id": {"type": "input_image", "file_id": "file_1"},
    **dict.fromkeys(("audio in base64", "v0 audio", "OpenAI audio"), CHAT_WAV),
    **dict.fromkeys(("audio by URL", "audio by id"), ONLY_BASE64),
    "video by URL": NO_WORDS,
    **dict.fromkeys(
        ("file by URL", "Responses file by URL", "Anthropic document by URL"), R_PDF_AT
    ),
    **dict.fromkeys(
        ("file in base64", "file with its name in extras", "v0 file", "OpenAI file"), R_PDF
    ),
    **dict.fromkeys(("Responses file", "Anthropic document"), R_PDF),
    **dict.fromkeys(
        ("file by id", "v0 file by id", "OpenAI file by id", "Responses file by id"), R_FILE_BY_ID
    ),
    "Anthropic document by id": R_FILE_BY_ID,
    **dict.fromkeys(
        ("plain text", "v0 text", "Responses text", "Anthropic document of text"), R_TEXT
    ),
    "image without its kind": "needs `mime_type`",
    "image of nothing": "needs one of `url`",
}
WIRES = {
    "chat": "messages",
    "anthropic": "messages",
    "responses": "input",
}  # where the turns are in the body


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_said_in_the_words_of_the_wire_or_refused(name: str, wire: str) -> None:
    block, of_chat, of_anthropic = BLOCKS[name]
    wanted = {"chat": of_chat, "anthropic": of_anthropic, "responses": RESPONSES[name]}[wire]
    asked = [HumanMessage([copy.deepcopy(block)])]
    if isinstance(wanted, str):
        with pytest.raises(InvalidArgument, match=re.escape(wanted)):
            MODELS[wire].build_request(asked)
        return
    (turn,) = MODELS[wire].build_request(asked).body[WIRES[wire]]
    content = turn["content"]
    assert ([text(content)] if isinstance(content, str) else content) == [wanted]
    assert asked[0].content == [block]


# Found by a fuzzer that put every kind of value under every key of every block.
ODD: list[tuple[type[Any], dict[str, Any]]] = [
    (HumanMessage, {"type": [], "text": "x"}),
    (AIMessage, {"type": {}, "text": "x"}),
    (HumanMessage, {"type": "image", "source_type": []}),
    (HumanMessage, {"type": "custom_tool_call", "call_id": [None]}),
    (AIMessage, {"type": "function_call", "call_id": []}),
    (AIMessage, {"type": "tool_use", "id": [None], "name": "f"}),
    (AIMessage, {"type": "text", "text": "x", "annotations": [1]}),
    (AIMessage, {"type": "text", "text": "x", "citations": True}),
    (HumanMessage, {"type": "text", "text": "x", "citations": True}),
    (HumanMessage, {"type": "tool_result", "tool_use_id": "t", "content": 1.5}),
]


@pytest.mark.parametrize(
    ("kind", "block"), ODD, ids=[f"{kind.__name__} {block}" for kind, block in ODD]
)
@pytest.mark.parametrize("wire", MODELS)
def test_a_block_with_values_of_the_wrong_types_never_breaks_the_encoder(
    wire: str, kind: Any, block: Any
) -> None:
    try:
        body = MODELS[wire].build_request([HumanMessage("hi"), kind([block])]).body
    except (InvalidArgument, InvalidType):
        return
    assert body["model"] == "m"


@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_a_tools_answer_of_blocks_without_a_type_is_refused(wire: str) -> None:
    answer = ToolMessage("", tool_call_id="t").model_copy(update={"content": [{"type": []}]})
    with pytest.raises((InvalidArgument, InvalidType)):
        MODELS[wire].build_request([HumanMessage("hi"), answer])


def test_anthropic_takes_any_list_of_a_tool_as_json() -> None:
    answer = ToolMessage("", tool_call_id="t").model_copy(update={"content": [{"type": []}]})
    (turn,) = MODELS["anthropic"].build_request([HumanMessage("hi"), answer]).body["messages"]
    assert turn["content"][0]["content"] == [text('{"type":[]}')]
