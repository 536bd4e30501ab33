"""A ratchet: how many functions of ours one call enters when nobody listens. The numbers only ever go down.

Counted are frames of modelwire, a coroutine or generator each time it goes on, against a server of raw bytes over the
pooled connections of the default engine; a machine's speed plays no part.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import own_calls

AINVOKE = 155  # 221 on 2026-11-22
INVOKE = 141
OBSERVED = 60  # what an observer that does nothing may add


@pytest.fixture(scope="module")
def counts() -> list[int]:
    """Return the calls of an `ainvoke` without an observer, and with one; of an `invoke` on each wire."""
    program = Path(own_calls.__file__)
    roots = [str(program.parents[1]), str(program.parents[2])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    return list(map(int, done.stdout.split()))


def test_a_call_that_nobody_hears_enters_few_functions(counts: list[int]) -> None:
    assert counts[0] <= AINVOKE


def test_an_observer_costs_little_more(counts: list[int]) -> None:
    assert counts[1] - counts[0] <= OBSERVED


def test_a_sync_call_over_the_users_client_enters_few_functions_on_every_wire(
    counts: list[int],
) -> None:
    assert len(counts) == 6
    assert max(counts[2:]) <= INVOKE


def test_no_wire_costs_much_more_than_openais(counts: list[int]) -> None:
    openai, *others = counts[2:]
    assert max(others) <= 1.3 * openai
