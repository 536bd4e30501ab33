"""A handler that keeps which runs it heard of, as `name [tags]`, and how each was over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from modelwire.callbacks import BaseCallbackHandler


class Heard(BaseCallbackHandler):
    run_inline = True

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.runs: list[str] = []
        self.over: list[tuple[str, str]] = []

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **about: Any) -> None:
        self.names[run_id] = about["name"]
        self.runs.append(f"{about['name']} {about['tags']}")

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **about: Any) -> None:
        self.over.append((self.names[run_id], "end"))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> None:
        self.over.append((self.names[run_id], type(error).__name__))
