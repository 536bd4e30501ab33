"""Content blocks of files and URLs: an image, audio, a PDF, a text, each with its media type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwire.aliases import StrPath
from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.messages.content import (
    DataContentBlock,
    create_audio_block,
    create_file_block,
    create_image_block,
    create_plaintext_block,
    create_video_block,
)

__all__ = ["from_path", "from_url"]

# This maps file extensions to media types, the same on every system. Any other extension is looked
# up in `mimetypes`.
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
}
# Files that begin with these bytes have these media types. Providers reject an image whose media
# type is wrong.
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
# Every file of these types begins with known bytes, so a file without them is rejected.
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")

_CREATE: dict[str, Any] = {
    "image": create_image_block,
    "audio": create_audio_block,
    "video": create_video_block,
}


def from_path(path: StrPath, *, mime_type: str | None = None) -> DataContentBlock:
    """Return a content block for a file: an `image`, `audio` or `video` one, `text-plain` for text, else a `file`.

    The media type comes from the file's first bytes, or from the end of its name, unless you pass
    `mime_type`.
    Raises: `InvalidArgument` for a file that cannot be read, is empty, or whose type is unknown.

    >>> HumanMessage([{"type": "text", "text": "What is on it?"}, from_path("photo.png")])  # doctest: +SKIP
    """
    from base64 import b64encode

    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise InvalidArgument(f"`{file}` cannot be read: {exc.strerror}.") from exc
    if not data:
        raise InvalidArgument(f"`{file}` is empty.")
    kind = mime_type or _signature(data)
    if kind is None:
        kind = _type_of_name(file.name, f"`{file}`")
        if kind in IMAGES or (kind == "application/pdf" and b"%PDF-" not in data[:1024]):
            raise InvalidArgument(
                f"`{file}` is not `{kind}`, although its name says so: it begins with {data[:12]!r}."
            )
    if kind.startswith("text/"):
        try:
            return create_plaintext_block(data.decode("utf-8-sig"), title=file.name)
        except UnicodeDecodeError as exc:
            raise InvalidArgument(
                f"`{file}` is not UTF-8 text. Decode it yourself: `create_plaintext_block(text, title=...)`."
            ) from exc
    name = {"filename": file.name} if kind.partition("/")[0] not in _CREATE else {}
    return _created(kind, base64=b64encode(data).decode("ascii"), **name)


def from_url(url: str, *, mime_type: str | None = None) -> DataContentBlock:
    """Return a content block for a URL, which the provider fetches; for a `data:` URL, one with the data itself.

    The media type comes from the end of its path, unless you pass `mime_type`.
    Raises: `InvalidArgument` for a URL with another scheme, or whose type is unknown.

    >>> from_url("https://example.com/photo.png")["type"]
    'image'
    """
    from urllib.parse import urlsplit

    scheme, _, rest = url.partition(":")
    if scheme.lower() == "data":
        head, comma, data = rest.partition(",")
        if not comma or not head.lower().endswith(";base64") or not head.partition(";")[0]:
            raise InvalidArgument("A `data:` URL must be of the form `data:image/png;base64,...`.")
        kind = mime_type or head.partition(";")[0]
        return _created(kind, base64=data)
    if scheme.lower() not in ("http", "https"):
        if scheme == "file" or ":" not in url:
            hint = "For a file use `from_path`."
        else:
            hint = "Providers fetch no other URLs."
        raise InvalidArgument(
            f"The URL `{url}` begins with neither `https://`, `http://` nor `data:`. {hint}"
        )
    kind = mime_type or _type_of_name(urlsplit(url).path, f"The URL `{url}`")
    return _created(kind, url=url)


def _created(mime_type: str, **fields: Any) -> DataContentBlock:
    create = _CREATE.get(mime_type.partition("/")[0], create_file_block)
    block: DataContentBlock = create(mime_type=mime_type, **fields)
    return block


def _signature(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE"):
        if data[8:12] == b"WEBP":
            return "image/webp"
        return "audio/wav"
    return next((kind for start, kind in SIGNATURES if data.startswith(start)), None)


def _type_of_name(name: str, what: str) -> str:
    from mimetypes import guess_type

    suffix = Path(name).suffix.lower()
    kind = MEDIA_TYPES.get(suffix) or guess_type(name)[0]
    if kind is None:
        hint = did_you_mean(suffix, list(MEDIA_TYPES)) if suffix else "It has no file extension."
        raise InvalidArgument(
            f"{what} has no known media type. {hint} Pass it, as in `mime_type='image/png'`."
        )
    return kind
