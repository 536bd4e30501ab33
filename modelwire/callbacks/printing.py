"""Handlers that print events, or write them to a file."""
# ruff: noqa: T201 - their purpose

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

from modelwire.aliases import JSON
from modelwire.callbacks.base import BaseCallbackHandler
from modelwire.user_paths import owned

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self

__all__ = ["FileCallbackHandler", "StdOutCallbackHandler", "StreamingStdOutCallbackHandler"]


class StdOutCallbackHandler(BaseCallbackHandler):
    """Prints a line when a chain or a tool starts, ends or fails."""

    # A line for each run does not block, and threads would mix the order.
    run_inline = True

    def _say(self, text: str) -> None:
        print(text)

    def on_chain_start(self, serialized: JSON | None, inputs: Any, **kwargs: Any) -> None:
        name = kwargs.get("name") or (serialized or {}).get("name") or "chain"
        self._say(f"> {name} starts")

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self._say("> chain ends")

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self._say(f"> chain fails: {type(error).__name__}")

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self._say(str(output))

    def on_text(self, text: str, **kwargs: Any) -> None:
        self._say(text)


class FileCallbackHandler(StdOutCallbackHandler):
    """Writes the lines of `StdOutCallbackHandler` to a file, which is open until `close()` or the `with` block ends."""

    def __init__(self, filename: str | PathLike[str], mode: str = "a", **_ignored: Any) -> None:
        self.filename = filename
        self.mode = mode
        self.file: IO[str] = open(filename, mode, encoding="utf-8", opener=owned)  # noqa: SIM115 - `close` closes it

    def close(self) -> None:
        """Close the file. Later events are not written."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _say(self, text: str) -> None:
        if not self.file.closed:
            self.file.write(f"{text}\n")
            self.file.flush()


class StreamingStdOutCallbackHandler(BaseCallbackHandler):
    """Prints the tokens of models as they arrive."""

    run_inline = True

    def on_chat_model_start(self, serialized: JSON, messages: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        sys.stdout.write(token)
        sys.stdout.flush()
