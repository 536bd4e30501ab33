"""Runs a language model on the user's own machine: its weights, and llama.cpp's server in a child process.

    from modelwire.local import LocalServer

    with LocalServer("smollm2") as server:
        print(server.base_url)        # it answers OpenAI's and Anthropic's clients, with any key

`init_chat_model("local:smollm2")` starts such a server by itself, and all models of the program
share it.
"""

from __future__ import annotations

from modelwire.local.server import LocalServer, ensure_server, require_runtime
from modelwire.local.weights import KNOWN, Weights, cache_folder, find_weights, pull

__all__ = [
    "KNOWN",
    "LocalServer",
    "Weights",
    "cache_folder",
    "ensure_server",
    "find_weights",
    "pull",
    "require_runtime",
]
