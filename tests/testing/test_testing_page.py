"""The snippets of docs/testing.md are tests, and they pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelwire.testing import faults, server
from modelwire.testing.server.batches import BatchPlan

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
FIXTURE = "from modelwire.testing.pytest_plugin import provider_server  # stands in for the installed plugin\n"


@pytest.mark.long
def test_every_snippet_of_the_page_passes(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    pytester.makepyfile(FIXTURE + "\n".join(blocks))
    tests = sum(block.count("def test_") for block in blocks)
    assert tests >= 10
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q").assert_outcomes(passed=tests)


def test_the_names_of_the_page_are_there() -> None:
    for call, fields in re.findall(r"`?(Answer|Limits)\(([^)]*=[^)]*)\)", PAGE):
        known = set(getattr(server, call).__slots__)
        assert set(re.findall(r"(\w+)=", fields)) <= known
    assert {"outcome", "done"} <= set(BatchPlan.__slots__)
    assert {"close", "reset_body"} <= set(faults.NAMED)


def test_the_first_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    files = dict(re.findall(r'```python title="(\w+)\.py"\n(.*?)```', PAGE, re.DOTALL))
    assert [*files] == ["greeting", "test_greeting"]
    pytester.makepyfile(**files)
    pytester.makeconftest(FIXTURE)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q").assert_outcomes(passed=2)
