"""Which tests `make test-threads` does not run in several threads at once, and why: a plugin of pytest.

`pytest-run-parallel` runs each test of the folders that the Makefile names in 8 threads that start together. By itself
it runs those in one thread that use `monkeypatch`, `capsys`, `pytest.warns` and the like. Here are the others.
"""

from __future__ import annotations

import pytest

RECORDS = "it is one object for all threads, and the test counts what it has recorded"
PROCESS = "it looks at the whole process: its memory, its threads, its modules, its log"
SERVER = "its server, or the child process that it starts, has one script for all threads"
FIRST = "calls that come first at once make equal codecs, or schemas, which have no state; one of them is kept"
WAITS = "its provider refuses all calls of one key, so they wait for each other, as they should: for two minutes"
FORKS = "it forks, and a child of several threads waits for ever for a lock that another thread had"
CONSUMED = "it changes the parameter that all threads share"

# Fixture -> why a test with it runs in one thread.
FIXTURES = {
    "caplog": PROCESS,
    "listener": RECORDS,
    "stores": RECORDS,
    "waiting": RECORDS,
    "respx_mock": PROCESS,
    "raw_server": SERVER,
    "server": SERVER,
}
# File, or file and test -> the same.
TESTS = {
    "tests/adapters/wires/openai_chat/test_surprises.py::test_an_answer_that_ended_in_an_error_is_none": WAITS,
    "tests/adapters/wires/openai_responses/test_model.py::test_a_failed_answer_is_an_error_on_every_way": WAITS,
    "tests/adapters/wires/test_registry.py::test_a_wire_is_what_its_parts_say": FIRST,
    "tests/output_parsers/test_parser_base.py::test_a_users_parse_does_not_block_the_loop_and_an_async_one_is_used": (
        "it compares the main thread with its own"
    ),
    "tests/prompts/test_mustache.py::test_memory_grows_with_the_length_of_the_template": PROCESS,
    "tests/runnables/test_fallbacks.py::test_bad_arguments_are_told_at_construction": CONSUMED,
    "tests/tools/test_base_tool.py::test_what_the_model_sees_follows_the_tool": FIRST,
    "tests/test_caches.py::test_a_forked_process_opens_the_file_for_itself": FORKS,
    "tests/test_caches.py::test_a_later_answer_replaces_the_earlier_one": RECORDS,
    "tests/test_caches.py::test_a_cache_returns_what_it_was_given_for_the_same_question_only": RECORDS,
    "tests/runnables/test_parallel.py::test_leaving_a_woven_stream_ends_its_threads_and_tasks": PROCESS,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what runs in one thread. Raise `UsageError` for a row of `TESTS` that names no test."""
    names = {item.nodeid.partition("[")[0] for item in items}
    files = {name.partition("::")[0] for name in names}
    for key in TESTS.keys() - names - files:
        file = key.partition("::")[0]
        if config.getoption("lf"):  # Only the failed tests are collected.
            break
        if file in files or not (config.rootpath / file).exists():
            raise pytest.UsageError(f"`in_threads.py` names a test that is not there: {key}")
    for item in items:
        name = item.nodeid.partition("[")[0]
        used = FIXTURES.keys() & set(getattr(item, "fixturenames", ()))
        reasons = [FIXTURES[fixture] for fixture in used]
        reasons += [TESTS[key] for key in (name, name.partition("::")[0]) if key in TESTS]
        if reasons:
            item.add_marker(pytest.mark.thread_unsafe(reason=reasons[0]))
