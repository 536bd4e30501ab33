"""Tables of ours that follow an SDK's types: complete for the version they were read from, not for later ones."""

from __future__ import annotations

from importlib.metadata import version

import pytest


def read_from(package: str, upto: str) -> pytest.MarkDecorator:
    """Skip a test of completeness where an SDK newer than the one we have read is installed."""
    installed = version(package)
    newer = _numbers(installed) > _numbers(upto)
    return pytest.mark.skipif(
        newer, reason=f"{package} {installed} is newer than {upto}, which the table follows"
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
