"""An image in a message: a block of its file, the same for every provider.

python examples/images.py [openai:gpt-4o-mini | anthropic:claude-haiku-4-5 | ...] [photo.jpg]
"""

from __future__ import annotations

import struct
import sys
import tempfile
import zlib
from pathlib import Path

from stand_in import chosen_model

from modelwire import AIMessage, HumanMessage
from modelwire.messages import from_path


def png(rows: list[list[tuple[int, int, int]]]) -> bytes:
    """Return a PNG of rows of (red, green, blue), 0 to 255 each. https://www.w3.org/TR/png-3, read 2026-11."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(
        ">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0
    )  # 8 bits a colour, no alpha
    pixels = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


with tempfile.TemporaryDirectory() as folder:
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder, "flag.png")
    if len(sys.argv) <= 2:
        picture.write_bytes(png([[(200, 0, 0)] * 32 + [(0, 0, 200)] * 32] * 64))
    block = from_path(picture)  # from_url("https://...") makes one of an address
    print(f"a picture of {picture.stat().st_size:,} bytes, {block['mime_type']}")

question = HumanMessage(
    [{"type": "text", "text": "Which colours has this picture, and where?"}, block]
)
# What a model answers; with one of your own this list is not needed.
WRITTEN = [AIMessage("It is red on the left and blue on the right.")]
print(chosen_model(sys.argv[1:2], WRITTEN).invoke([question]).text)
