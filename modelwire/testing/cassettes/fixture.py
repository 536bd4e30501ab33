"""The cassette of a pytest test: a file beside its module, recorded by the first run and replayed by later ones."""

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

# The name of a file has at most this many characters.
_MAX_NAME = 100


def cassette_path(node: pytest.Item) -> Path:
    """Return `cassettes/<module>/<test>.jsonl` beside the test's module; a class's name comes before the test's."""
    names = node.nodeid.partition("::")[2].replace("::", ".")
    name = re.sub(r"[^\w.\-\[\]]+", "_", names)
    if name != names or len(name) > _MAX_NAME:
        # Two tests may have the same name now, so a digest is added.
        name = f"{name[:_MAX_NAME]}-{sha256(names.encode()).hexdigest()[:8]}"
    return node.path.parent / "cassettes" / node.path.stem / f"{name}.jsonl"


class Cassette:
    """The value of the fixture `cassette`: its `path`, and whether this run is `recording`."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self.recording = mode == "all" or (mode == "once" and not path.exists())
        # The recording of a failed test must not replace that of a passed one.
        self._fresh = path.with_name(f"{path.name}.part")
        if self.recording:
            self._tape: Recording | Replay = Recording(self._fresh)
        else:
            self._tape = Replay(path, _may_be_absent=mode == "none")

    @property
    def missing(self) -> list[str]:
        if isinstance(self._tape, Recording):
            return []
        return self._tape.missing

    def begin(self) -> None:
        self._tape.__enter__()

    def end(self, *, passed: bool) -> None:
        """Keep the recording if the test has passed and made calls."""
        self._tape.__exit__()
        if isinstance(self._tape, Recording):
            if passed and self._tape.count:
                os.replace(self._fresh, self.path)
                return
            self._fresh.unlink(missing_ok=True)
            for folder in (self.path.parent, self.path.parent.parent):
                if not any(folder.iterdir()):
                    folder.rmdir()
