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
    """Return `cassettes/<module>/<test>.jsonl` beside the test's module; `<test>` may be `<class>.<test>`."""
    _, _, test = node.nodeid.partition("::")
    names = test.replace("::", ".")
    name = re.sub(r"[^\w.\-\[\]]+", "_", names)
    if name != names or len(name) > _MAX_NAME:
        # The changed name could be that of another test, so a digest is added.
        digest = sha256(names.encode()).hexdigest()
        name = f"{name[:_MAX_NAME]}-{digest[:8]}"
    module = node.path
    return module.parent / "cassettes" / module.stem / f"{name}.jsonl"


class Cassette:
    """The value of the fixture `cassette`: the `path` of its file, and whether this run is `recording` it."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        is_new = mode == "once" and not path.exists()
        self.recording = is_new or mode == "all"
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
        """Stop answering or recording. Keep a recording if the test has passed and made calls, else delete it."""
        tape = self._tape
        tape.__exit__()
        if not isinstance(tape, Recording):
            return
        if passed and tape.count:
            os.replace(self._fresh, self.path)
            return
        self._fresh.unlink(missing_ok=True)
        folder = self.path.parent
        for empty in (folder, folder.parent):
            if not any(empty.iterdir()):
                empty.rmdir()
