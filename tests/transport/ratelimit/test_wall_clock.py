"""J6, the limiter's side: a wall clock that is set back or forward changes no wait."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import pytest
from support.parsed import MODULES, nodes

import modelwire.transport
from modelwire.testing import ProviderServer, faults

WALL = frozenset({"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime"})


@pytest.mark.parametrize("shift_s", [-3600.0, 3600.0])
def test_an_hour_set_during_a_pause_changes_no_wait(
    colour: Any, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    real, began = time.time, time.monotonic()
    monkeypatch.setattr(
        time, "time", lambda: real() + (shift_s if time.monotonic() > began + 0.3 else 0)
    )
    with ProviderServer([faults.status(429, headers={"retry-after": "1"}), "there"]) as server:
        assert colour.invoke(server.model(max_wait=20), "hi").text == "there"
        first, second = server.requests
        assert 0.9 < second.at_s - first.at_s < 15  # not an hour, nor at once


def test_the_transport_reads_no_wall_clock_but_for_a_date_without_the_servers_own() -> None:
    transport = Path(modelwire.transport.__file__).parent
    read = {
        (path.name, node.func.attr)
        for path in MODULES
        if path.is_relative_to(transport)
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WALL
        if isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("time", "datetime", "date")
    }
    # `retry.py` reads it where a `Retry-After` is a date and the answer has no date of its own.
    assert read == {("headers.py", "now"), ("retry.py", "now")}
