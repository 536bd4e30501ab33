from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, trim_messages

HISTORY: list[BaseMessage] = [
    SystemMessage("s s"),
    HumanMessage("a b c"),
    AIMessage("d e"),
    HumanMessage("f"),
    AIMessage([{"type": "text", "text": "g h i "}, {"type": "text", "text": "j"}]),
    HumanMessage("k l"),
]


def words(messages: list[BaseMessage]) -> int:
    return sum(len(message.text.split()) for message in messages)


def texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.text) for message in messages]


@pytest.mark.parametrize(
    ("limit", "options", "kept"),
    [
        (0, {}, []),
        (2, {}, ["k l"]),
        (7, {}, ["f", "g h i j", "k l"]),
        (99, {}, ["s s", "a b c", "d e", "f", "g h i j", "k l"]),
        (5, {"strategy": "first"}, ["s s", "a b c"]),
        (9, {"strategy": "first", "end_on": "ai"}, ["s s", "a b c", "d e"]),
        (5, {"end_on": AIMessage}, ["f", "g h i j"]),
        (7, {"start_on": ["ai"]}, ["g h i j", "k l"]),
        (1, {"start_on": "ai"}, []),
        (0, {"include_system": True}, ["s s"]),
        (9, {"include_system": True}, ["s s", "f", "g h i j", "k l"]),
        (8, {"include_system": True, "start_on": "human"}, ["s s", "k l"]),
        (3, {"allow_partial": True}, ["j", "k l"]),
        (9, {"strategy": "first", "allow_partial": True}, ["s s", "a b c", "d e", "f"]),
        (11, {"strategy": "first", "allow_partial": True}, ["s s", "a b c", "d e", "f", "g h i "]),
    ],
)
def test_as_much_is_kept_as_fits(limit: int, options: dict[str, Any], kept: list[str]) -> None:
    before = [message.model_copy(deep=True) for message in HISTORY]
    assert texts(trim_messages(HISTORY, max_tokens=limit, token_counter=words, **options)) == kept
    assert (
        texts(trim_messages(max_tokens=limit, token_counter=words, **options).invoke(HISTORY))
        == kept
    )
    assert before == HISTORY


@pytest.mark.parametrize(
    ("strategy", "content", "kept"),
    [
        ("first", "a\nb c\nd", "a\n"),
        ("last", "a\nb c\nd", "d"),
        ("last", "a\nb\nc d", "c d"),
        ("first", [{"type": "text", "text": "a\nb\nc"}], "a\nb\n"),
        ("last", [{"type": "text", "text": "a b c\nd"}], "d"),
        ("last", ["a b c"], None),
        (
            "first",
            [{"type": "image", "url": "u"}, {"type": "text", "text": "a b c"}],
            [{"type": "image", "url": "u"}],
        ),
        ("first", "", ""),
    ],
)
def test_a_part_is_whole_blocks_or_whole_lines(strategy: Any, content: Any, kept: Any) -> None:
    trimmed = trim_messages(
        [HumanMessage(content)],
        max_tokens=2,
        token_counter=words,
        strategy=strategy,
        allow_partial=True,
    )
    assert [message.content for message in trimmed] == ([] if kept is None else [kept])


class BySpace:
    def split_text(self, text: str) -> list[str]:
        return [word + " " for word in text.split()]


@pytest.mark.parametrize("splitter", [BySpace(), BySpace().split_text])
def test_text_is_split_as_the_caller_splits(splitter: Any) -> None:
    (kept,) = trim_messages(
        [HumanMessage("a b c", id="1")],
        max_tokens=2,
        token_counter=words,
        allow_partial=True,
        text_splitter=splitter,
    )
    assert kept == HumanMessage("b c ", id="1")


class Model:
    def get_num_tokens_from_messages(self, messages: list[BaseMessage]) -> int:
        return words(messages)


def one(message: BaseMessage) -> int:
    return words([message])


def one_human(message: HumanMessage) -> int:
    return words([message])


@pytest.mark.parametrize(
    "counter", [words, Model(), one, one_human, lambda messages: words(messages)]
)
def test_a_counter_may_be_a_function_of_a_list_or_of_a_message_or_a_model(counter: Any) -> None:
    assert texts(trim_messages(HISTORY, max_tokens=2, token_counter=counter)) == ["k l"]


def test_a_counter_may_be_approximate() -> None:
    assert (
        texts(trim_messages(HISTORY, max_tokens=10, token_counter="approximate"))
        == ["f", "k l"][1:]
    )


def test_nothing_stays_nothing() -> None:
    assert trim_messages([], max_tokens=2, token_counter=words) == []


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"strategy": "middle"}, InvalidArgument, "Unrecognized strategy='middle'"),
        ({"strategy": "first", "start_on": "human"}, InvalidArgument, "start_on"),
        ({"strategy": "first", "include_system": True}, InvalidArgument, "include_system"),
        ({"token_counter": "exact"}, InvalidArgument, "Invalid token_counter shortcut 'exact'"),
        ({"token_counter": 5}, InvalidArgument, "Received object of type <class 'int'>"),
        ({"text_splitter": 5}, InvalidType, "text_splitter"),
        ({"start_on": "humman"}, InvalidArgument, "Did you mean `human`"),
    ],
)
def test_bad_arguments_are_named(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        trim_messages(HISTORY, **{"max_tokens": 5, "token_counter": words, **options})


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 40))
def test_the_most_that_fits_is_kept_from_either_end(sizes: list[int], limit: int) -> None:
    messages: list[BaseMessage] = [HumanMessage("w " * size) for size in sizes]
    last = trim_messages(messages, max_tokens=limit, token_counter=words)
    first = trim_messages(messages, max_tokens=limit, token_counter=words, strategy="first")
    for kept, more in ((last, messages[-len(last) - 1 :]), (first, messages[: len(first) + 1])):
        assert words(kept) <= limit
        assert len(kept) == len(messages) or words(more) > limit
    assert last == messages[len(messages) - len(last) :]
    assert first == messages[: len(first)]
