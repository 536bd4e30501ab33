"""Caches as objects: what they keep, what they forget, what a broken file does."""

import asyncio
import logging
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cached_answers import check_in_a_fork, texts

from modelwire.caches import EXPIRED_PER_UPDATE, BaseCache, InMemoryCache, SQLiteCache
from modelwire.errors import CallerError, InvalidArgument, InvalidType
from modelwire.messages import AIMessage, HumanMessage
from modelwire.outputs import ChatGeneration, Generation


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> BaseCache:
    return InMemoryCache() if request.param == "memory" else SQLiteCache(tmp_path / "answers.db")


def test_a_cache_returns_what_it_was_given_for_the_same_question_only(
    cache: BaseCache, colour: Any
) -> None:
    look = lambda *key: colour.run(lambda: cache.lookup(*key), lambda: cache.alookup(*key))  # noqa: E731
    assert look("p", "m") is None
    colour.run(
        lambda: cache.update("p", "m", texts("one")), lambda: cache.aupdate("p", "m", texts("one"))
    )
    assert look("p", "m") == texts("one")
    assert look("p", "other") is None
    assert look("pm", "") is None
    colour.run(cache.clear, cache.aclear)
    assert look("p", "m") is None


def test_a_later_answer_replaces_the_earlier_one(cache: BaseCache) -> None:
    cache.update("p", "m", texts("one"))
    cache.update("p", "m", texts("two", "three"))
    assert cache.lookup("p", "m") == texts("two", "three")


def test_maxsize_drops_the_oldest_entry_and_a_renewed_one_is_not_the_oldest() -> None:
    cache = InMemoryCache(maxsize=2)
    for prompt in ("a", "b", "a", "c"):
        cache.update(prompt, "", texts(prompt))
    assert [prompt for prompt in "abc" if cache.lookup(prompt, "")] == ["a", "c"]


@pytest.mark.parametrize("maxsize", [0, -1])
def test_maxsize_must_be_positive(maxsize: int) -> None:
    with pytest.raises(InvalidArgument, match="maxsize must be greater than 0"):
        InMemoryCache(maxsize=maxsize)


def test_threads_share_a_bounded_cache() -> None:
    cache = InMemoryCache(maxsize=3)
    errors: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for i in range(300):
                cache.update(f"{name}-{i % 7}", "", texts("x"))
                cache.lookup(f"{name}-{i % 5}", "")
        except BaseException as exc:  # noqa: BLE001 - it is looked at later
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    assert len(cache._cache) == 3


def test_a_cache_can_be_pickled_and_used_there(cache: BaseCache) -> None:
    cache.update("p", "m", texts("one"))
    other = pickle.loads(pickle.dumps(cache))
    assert other.lookup("p", "m") == texts("one")
    other.update("q", "m", texts("two"))
    assert other.lookup("q", "m") == texts("two")


def test_a_cache_of_ones_own_has_async_methods_for_free() -> None:
    class Own(BaseCache):
        def __init__(self) -> None:
            self.kept: dict[Any, Any] = {}

        def lookup(self, prompt: str, llm_string: str) -> Any:
            return self.kept.get((prompt, llm_string))

        def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
            self.kept[prompt, llm_string] = return_val

        def clear(self, **kwargs: Any) -> None:
            self.kept.clear()

    async def use() -> Any:
        cache = Own()
        await cache.aupdate("p", "m", texts("one"))
        found = await cache.alookup("p", "m")
        await cache.aclear()
        return found, await cache.alookup("p", "m")

    assert asyncio.run(use()) == (texts("one"), None)


# ---------------------------------------------------------------- for a time


class Clock:
    """The time that the caches read; a test sets it."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("modelwire.caches.time", made)
    monkeypatch.setattr("modelwire.caches.monotonic", made)
    return made


@pytest.fixture(params=["memory", "sqlite"])
def ten_seconds(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        return InMemoryCache(ttl=10)
    return SQLiteCache(tmp_path / "answers.db", ttl=10)


def stored(cache: Any) -> int:
    """Return how many entries a cache holds, expired ones included."""
    if isinstance(cache, InMemoryCache):
        assert len(cache._cache) == len(cache._expires)
        return len(cache._cache)
    with sqlite3.connect(cache.path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    connection.close()
    return int(count)


def test_an_entry_is_a_miss_after_its_ttl(ten_seconds: Any, clock: Clock, colour: Any) -> None:
    cache = ten_seconds
    look = lambda: colour.run(lambda: cache.lookup("p", "m"), lambda: cache.alookup("p", "m"))  # noqa: E731
    colour.run(
        lambda: cache.update("p", "m", texts("one")), lambda: cache.aupdate("p", "m", texts("one"))
    )
    clock.now_s += 9.9
    assert look() == texts("one")
    clock.now_s += 0.1
    assert look() is None
    cache.update("p", "m", texts("two"))
    clock.now_s += 5
    assert look() == texts("two")


def test_without_a_ttl_nothing_expires(cache: BaseCache, clock: Clock) -> None:
    cache.update("p", "m", texts("one"))
    clock.now_s += 10**9
    assert cache.lookup("p", "m") == texts("one")


def test_a_renewed_entry_lives_from_then_on(ten_seconds: Any, clock: Clock) -> None:
    for prompt in ("a", "b", "a"):
        ten_seconds.update(prompt, "m", texts(prompt))
        clock.now_s += 4
    clock.now_s += 1  # "b" is 9 seconds old, and the second "a" 5
    assert ten_seconds.lookup("b", "m") == texts("b")
    clock.now_s += 2
    assert ten_seconds.lookup("b", "m") is None
    assert ten_seconds.lookup("a", "m") == texts("a")


def test_expired_entries_are_removed_a_few_at_a_time(ten_seconds: Any, clock: Clock) -> None:
    for i in range(50):
        ten_seconds.update(f"p{i}", "m", texts("x"))
    clock.now_s += 11
    ten_seconds.update("new", "m", texts("x"))
    assert stored(ten_seconds) == 51 - EXPIRED_PER_UPDATE
    for _ in range(2):
        ten_seconds.update("new", "m", texts("x"))
    assert stored(ten_seconds) == 1
    ten_seconds.clear()
    assert stored(ten_seconds) == 0


def test_maxsize_and_ttl_hold_together(clock: Clock) -> None:
    cache = InMemoryCache(maxsize=2, ttl=10)
    for prompt in "abc":
        cache.update(prompt, "m", texts(prompt))
    assert [prompt for prompt in "abc" if cache.lookup(prompt, "m")] == ["b", "c"]
    assert stored(cache) == 2


def test_a_pickled_cache_keeps_the_time_that_its_entries_have_left(
    ten_seconds: Any, clock: Clock
) -> None:
    ten_seconds.update("p", "m", texts("one"))
    clock.now_s += 8
    other = pickle.loads(pickle.dumps(ten_seconds))
    assert other.lookup("p", "m") == texts("one")
    clock.now_s += 3
    assert other.lookup("p", "m") is None
    other.update("p", "m", texts("two"))
    clock.now_s += 11
    assert other.lookup("p", "m") is None


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "10", True])
@pytest.mark.parametrize("make", [InMemoryCache, lambda **kwargs: SQLiteCache("x.db", **kwargs)])
def test_a_ttl_is_a_number_of_seconds_above_0(make: Any, ttl: Any) -> None:
    with pytest.raises(InvalidArgument, match="`ttl` must be a number of seconds above 0"):
        make(ttl=ttl)


def test_another_cache_of_the_file_honours_the_ttl_of_the_one_that_wrote(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "answers.db"
    SQLiteCache(path, ttl=10).update("p", "m", texts("one"))
    SQLiteCache(path).update("q", "m", texts("two"))
    clock.now_s += 11
    assert SQLiteCache(path).lookup("p", "m") is None
    assert SQLiteCache(path, ttl=10).lookup("q", "m") == texts("two")


# ---------------------------------------------------------------- in a file

MESSAGE = AIMessage(
    [
        {"type": "text", "text": "Füße 🍷 \ud800"},
        {"type": "reasoning", "reasoning": "…", "index": 0},
    ],
    id="msg_1",
    name="clerk",
    tool_calls=[{"name": "f", "args": {"x": [1, 2.5, None]}, "id": "c1"}],
    usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    response_metadata={"finish_reason": "stop", "logprobs": {"content": []}},
    additional_kwargs={"audio": {"id": "a"}},
)


def test_a_file_keeps_a_whole_message(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    kept = [
        ChatGeneration(message=MESSAGE, generation_info={"a": 1}),
        ChatGeneration(message=HumanMessage("hi")),
    ]
    SQLiteCache(path).update("p", "m", kept)
    found = SQLiteCache(path).lookup("p", "m")
    assert found == kept
    assert [type(generation) for generation in found or ()] == [ChatGeneration, ChatGeneration]


@given(
    content=st.text(),
    kwargs=st.dictionaries(
        st.text(),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
    ),
)
def test_any_text_and_any_json_comes_back_from_a_file(content: str, kwargs: dict[str, Any]) -> None:
    cache = SQLiteCache(":memory:")
    kept = [ChatGeneration(message=AIMessage(content, response_metadata=kwargs))]
    cache.update(content, "m", kept)
    assert cache.lookup(content, "m") == kept
    cache.close()


def test_the_file_and_those_beside_it_are_for_their_owner_only(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "deep" / "answers.db")
    cache.update("p", "m", texts("secret"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").iterdir()}
    assert modes["answers.db"] == 0o600
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3  # with its write-ahead log and the index of that


def test_making_a_cache_touches_no_file(tmp_path: Path) -> None:
    SQLiteCache(tmp_path / "answers.db")
    assert list(tmp_path.iterdir()) == []


def damaged(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be one" * 100)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE answers (question BLOB PRIMARY KEY, answer TEXT)")
    connection.close()


def newer(path: Path) -> None:
    SQLiteCache(path).update("p", "m", texts("old"))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def without_expiry_times(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE answers (question BLOB PRIMARY KEY, answer TEXT NOT NULL)")
    connection.execute(f"PRAGMA application_id = {int.from_bytes(b'mwca', 'big')}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def directory(path: Path) -> None:
    path.mkdir()


def truncated(path: Path) -> None:
    cache = SQLiteCache(path)
    for i in range(200):
        cache.update(f"p{i}", "m", texts("x" * 500))
    cache.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "spoil", [damaged, foreign, newer, without_expiry_times, directory, truncated]
)
def test_a_file_that_cannot_be_used_is_a_miss_and_says_so_once(
    tmp_path: Path, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers.db"
    spoil(path)
    caplog.clear()
    before = path.read_bytes() if path.is_file() else None
    cache = SQLiteCache(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            cache.update("p", "m", texts("one"))
            assert cache.lookup("p7", "m") is None
    assert "answers.db" in caplog.text
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records)
    if before is not None and spoil is not truncated:
        assert path.read_bytes() == before


def test_a_locked_file_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelwire.caches._BUSY_S", 0.01)
    path = tmp_path / "answers.db"
    SQLiteCache(path).update("p", "m", texts("one"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache = SQLiteCache(path)
    cache.update("q", "m", texts("two"))
    other.execute("COMMIT")
    other.close()
    assert cache.lookup("q", "m") is None
    cache.update("q", "m", texts("two"))  # and the cache is used again when the file is free
    assert cache.lookup("q", "m") == texts("two")


@pytest.mark.parametrize(
    "answer", ["", "[1]", "{}x", '[{"message": {"type": "ghost", "data": {}}}]', '[{"info": 1}]']
)
def test_an_answer_that_cannot_be_read_is_a_miss(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "answers.db"
    cache = SQLiteCache(path)
    cache.update("p", "m", texts("one"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE answers SET answer = ?", (answer,))
    connection.close()
    assert cache.lookup("p", "m") is None
    cache.update("p", "m", texts("two"))
    assert cache.lookup("p", "m") == texts("two")


def test_what_json_cannot_say_is_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = SQLiteCache(tmp_path / "answers.db")
    cache.update(
        "p", "m", [ChatGeneration(message=AIMessage("x", additional_kwargs={"parsed": object()}))]
    )
    assert cache.lookup("p", "m") is None
    assert "not JSON" in caplog.text


def test_clearing_a_file_that_cannot_be_cleared_raises(tmp_path: Path) -> None:
    damaged(tmp_path / "answers.db")
    with pytest.raises(CallerError, match=r"answers\.db"):
        SQLiteCache(tmp_path / "answers.db").clear()


def test_a_path_must_be_a_path() -> None:
    with pytest.raises(InvalidType, match="path of a file"):
        SQLiteCache(3)  # type: ignore[arg-type]


def test_processes_fill_one_file_together(tmp_path: Path) -> None:
    program = """
import sys
from modelwire.caches import SQLiteCache
from modelwire.outputs import Generation
cache = SQLiteCache(sys.argv[1])
for i in range(50):
    cache.update(f"{sys.argv[2]}-{i}", "m", [Generation(text=sys.argv[2])])
"""
    path = tmp_path / "answers.db"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), name], cwd=Path(__file__).parents[1]
        )
        for name in "abc"
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    cache = SQLiteCache(path)
    assert all(cache.lookup(f"{name}-{i}", "m") == texts(name) for name in "abc" for i in range(50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_opens_the_file_for_itself(tmp_path: Path) -> None:
    check_in_a_fork(SQLiteCache(tmp_path / "answers.db"))


def test_the_file_may_be_named_as_langchain_names_it(tmp_path: Path) -> None:
    assert (
        SQLiteCache(database_path=str(tmp_path / "c.db")).path
        == SQLiteCache(tmp_path / "c.db").path
    )


@pytest.mark.skipif(os.name != "posix", reason="modes are for POSIX")
def test_a_file_that_others_could_read_is_taken_from_them(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    SQLiteCache(path).update("p", "m", [Generation(text="a")])
    for name in (path, *tmp_path.glob("answers.db-*")):
        name.chmod(0o644)
    cache = SQLiteCache(path)
    assert cache.lookup("p", "m") == [Generation(text="a")]
    assert {oct(name.stat().st_mode & 0o777) for name in tmp_path.iterdir()} == {"0o600"}


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="a link cannot be refused here")
def test_a_file_that_is_a_link_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, victim = tmp_path / "answers.db", tmp_path / "another's"
    path.symlink_to(victim)
    cache = SQLiteCache(path)
    cache.update("p", "m", [Generation(text="a")])
    assert cache.lookup("p", "m") is None
    assert not victim.exists()
    assert "cannot be used" in caplog.text


def test_a_cache_that_lives_as_long_as_the_program_ends_quietly(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from modelwire.caches import SQLiteCache\n"
        f"cache = SQLiteCache({str(tmp_path / 'a.db')!r})\n"
        "cache.lookup('p', 'm')\n"
        "sys.unraisablehook = lambda found: print(found.exc_value, cache)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
