from __future__ import annotations

import subprocess
import sys

import pytest


def test_the_fixture_gives_each_test_a_server_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from modelwire.testing.pytest_plugin import provider_server  # works whether or not the plugin is installed

        def test_one(provider_server):
            provider_server.say("hello")
            assert provider_server.model().invoke("hi").content == "hello"

        def test_two(provider_server):
            assert provider_server.counts.requests == 0
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_loading_the_plugin_loads_nothing_of_ours_but_names() -> None:
    code = "import sys, modelwire.testing.pytest_plugin; print([m for m in sys.modules if m.startswith('modelwire')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(eval(done.stdout)) == [
        "modelwire",
        "modelwire.lazy",
        "modelwire.testing",
        "modelwire.testing.pytest_plugin",
    ]
