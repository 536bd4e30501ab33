"""The cassette of one pytest test: a file beside it, recorded by its first run and replayed by the others."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from modelwire.testing.cassettes.recording import Recording
from modelwire.testing.cassettes.replaying import Replay

if TYPE_CHECKING:
    import pytest

__all__ = ["Cassette", "cassette_path"]

MAX_NAME = 100  # characters of a file's name


def cassette_path(node: pytest.Item) -> Path:
    """Return `cassettes/<module>/<test>.jsonl` beside the test's module; a class's name comes before the test's."""
    names = node.nodeid.partition("::")[2].replace("::", ".")
    name = re.sub(r"[^\w.\-\[\]]+", "_", names)
    if name != names or len(name) > MAX_NAME:  # two tests may be called the same now
        name = f"{name[:MAX_NAME]}-{sha256(names.encode()).hexdigest()[:8]}"
    return node.path.parent / "cassettes" / node.path.stem / f"{name}.jsonl"


class Cassette:
    """What the fixture `cassette` gives: `path`, and whether this run is `recording`."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self.recording = mode == "all" or (mode == "once" and not path.exists())
        self._fresh = path.with_name(
            f"{path.name}.part"
        )  # what fails shall not replace what passed
        self._tape: Recording | Replay = (
            Recording(self._fresh)
            if self.recording
            else Replay(path, _may_be_absent=mode == "none")
        )

    @property
    def missing(self) -> list[str]:
        return [] if isinstance(self._tape, Recording) else self._tape.missing

    def begin(self) -> None:
        self._tape.__enter__()

    def end(self, *, passed: bool) -> None:
        """Keep the recording of a test that has passed and made calls."""
        self._tape.__exit__()
        if isinstance(self._tape, Recording):
            if passed and self._tape.count:
                os.replace(self._fresh, self.path)
                return
            self._fresh.unlink(missing_ok=True)
            for folder in (self.path.parent, self.path.parent.parent):
                if not any(folder.iterdir()):
                    folder.rmdir()
