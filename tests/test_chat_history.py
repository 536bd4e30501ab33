"""Conversations kept in memory, and stores of one's own."""

from collections.abc import Sequence
from typing import Any

from modelwire.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from modelwire.messages import AIMessage, BaseMessage, HumanMessage


class Own(BaseChatMessageHistory):
    def __init__(self) -> None:
        self.rows: list[BaseMessage] = []

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        return list(self.rows)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.rows.extend(messages)

    def clear(self) -> None:
        self.rows.clear()


def test_a_history_keeps_what_was_said_in_order(colour: Any) -> None:
    for history in (InMemoryChatMessageHistory(), Own()):
        history.add_user_message("hi")
        history.add_ai_message(AIMessage("hello"))
        more = [HumanMessage("bye")]
        colour.run(
            lambda h=history, m=more: h.add_messages(m),
            lambda h=history, m=more: h.aadd_messages(m),
        )
        said = colour.run(lambda h=history: h.messages, history.aget_messages)
        assert [(message.type, message.content) for message in said] == [
            ("human", "hi"),
            ("ai", "hello"),
            ("human", "bye"),
        ]
        assert str(history) == "Human: hi\nAI: hello\nHuman: bye"
        colour.run(history.clear, history.aclear)
        assert history.messages == []


def test_a_history_may_start_with_messages() -> None:
    assert InMemoryChatMessageHistory(messages=[("human", "hi")]).messages == [HumanMessage("hi")]
