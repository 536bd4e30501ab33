"""Handlers that print what happens."""
# ruff: noqa: T201 - their purpose

from __future__ import annotations

import sys
from typing import Any

from modelwire.callbacks.base import BaseCallbackHandler

__all__ = ["StdOutCallbackHandler", "StreamingStdOutCallbackHandler"]


class StdOutCallbackHandler(BaseCallbackHandler):
    """Prints a line when a chain or a tool starts, ends or fails."""

    run_inline = True  # a line a run blocks nobody, and threads would mix the order

    def on_chain_start(self, serialized: dict[str, Any] | None, inputs: Any, **kwargs: Any) -> None:
        """Print the chain's name."""
        name = kwargs.get("name") or (serialized or {}).get("name") or "chain"
        print(f"> {name} starts")

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        """Print that a chain is done."""
        print("> chain ends")

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        """Print the class of the error."""
        print(f"> chain fails: {type(error).__name__}")

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        """Print a tool's output."""
        print(output)

    def on_text(self, text: str, **kwargs: Any) -> None:
        """Print the text."""
        print(text)


class StreamingStdOutCallbackHandler(BaseCallbackHandler):
    """Prints the tokens of models as they come."""

    run_inline = True

    def on_chat_model_start(self, serialized: dict[str, Any], messages: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        """Print the token, with nothing added."""
        sys.stdout.write(token)
        sys.stdout.flush()
