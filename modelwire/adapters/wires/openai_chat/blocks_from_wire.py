"""Converts content parts of Chat Completions to standard blocks. No I/O here.

Wire format: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelwire.aliases import Fields
from modelwire.messages.block_translators.standard import (
    Block,
    Reader,
    Readers,
    data_block,
    split_data_url,
    without,
)


def read_image_url(block: Block) -> Block | None:
    """Return the standard block of an image whose URL is in `image_url`, as a string or in a dict; None without one."""
    image = block.get("image_url")
    image = {"url": image} if isinstance(image, str) else image
    if not isinstance(image, Mapping) or not isinstance(image.get("url"), str):
        return None
    rest = without(image, "url") | without(block, "image_url")
    if data := split_data_url(image["url"]):
        return data_block("image", rest, base64=data[1], mime_type=data[0])
    return data_block("image", rest, url=image["url"])


def _input_audio(block: Block) -> Block | None:
    audio = block.get("input_audio")
    if not isinstance(audio, Mapping) or "data" not in audio:
        return None
    mime_type = f"audio/{audio['format']}" if audio.get("format") else None
    return data_block("audio", block, {"input_audio"}, base64=audio["data"], mime_type=mime_type)


def _file(block: Block) -> Block | None:
    file = block.get("file")
    if isinstance(file, Mapping):
        return read_file(file, without(block, "file"))
    return None


def read_file(file: Fields, rest: Block) -> Block | None:
    """Return the standard block of a file with OpenAI's keys: `file_data`, `file_id` or `file_url`, and `filename`.

    `rest` are other fields of the block, which it keeps. Returns None if the file has no data.
    """
    rest = without(file, "file_data", "file_id", "file_url") | rest
    if isinstance(file.get("file_data"), str):
        mime_type, base64 = split_data_url(file["file_data"]) or (None, file["file_data"])
        return data_block("file", rest, base64=base64, mime_type=mime_type)
    if "file_id" in file:
        return data_block("file", rest, {"file_id"}, file_id=file["file_id"])
    if "file_url" in file:
        return data_block("file", rest, url=file["file_url"])
    return None


def _by_url(key: str, kind: str) -> Reader:
    """Return a function that converts a service's block with a URL under `key`, as a string or in a dict, to `kind`."""

    def read(block: Block) -> Block | None:
        url = block.get(key)
        url = url.get("url") if isinstance(url, Mapping) else url
        if not isinstance(url, str):
            return None
        if data := split_data_url(url):
            return data_block(kind, block, {key}, base64=data[1], mime_type=data[0])
        return data_block(kind, block, {key}, url=url)

    return read


FROM_WIRE: Readers = {
    "image_url": read_image_url,
    "input_audio": _input_audio,
    "file": _file,
    "document_url": _by_url("document_url", "file"),  # Mistral
    "file_url": _by_url("file_url", "file"),  # Perplexity
    "video_url": _by_url("video_url", "video"),  # OpenRouter
}
OWN_TYPES: frozenset[str] = frozenset()
