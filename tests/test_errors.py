from __future__ import annotations

import pickle
import re

import pytest

from modelwire import errors
from modelwire.adapters import ChatOpenAI
from modelwire.errors import (
    ChatError,
    InvalidArgument,
    LangChainException,
    ModelError,
    ModelRefusalError,
    ModelwireError,
    Refused,
    and_said,
)
from modelwire.messages import AIMessage


def test_a_refusal_keeps_what_the_model_said() -> None:
    said = AIMessage("No.")
    error = ModelRefusalError("Blocked.", raw_message=said)
    assert isinstance(error, Refused)
    assert str(error) == "Blocked."
    assert error.is_retryable is error.retryable is False
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.raw_message) == (ModelRefusalError, "Blocked.", said)
    assert str(ModelRefusalError()) == "Model refused to produce the requested output"


def test_the_tree_at_the_top_of_the_module_names_every_error() -> None:
    found = {
        cls.__name__
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, ModelwireError)
    }
    assert found
    assert found - set(re.findall(r"\w+", errors.__doc__ or "")) == set()


def test_the_roots_have_langchains_names_too() -> None:
    assert ModelError is ChatError
    assert LangChainException is ModelwireError


def test_a_refusal_block_is_said_in_words() -> None:
    error = ModelRefusalError.from_refusal(
        {"type": "refusal", "refusal": "No.", "extras": {"category": "cyber"}}
    )
    assert str(error) == "Model refused to produce the requested output (category='cyber'): No."


@pytest.mark.parametrize(
    ("text", "whole"), [("No.", "No. So."), ("No", "No. So."), ("Is it up?", "Is it up? So.")]
)
def test_a_sentence_is_put_behind_whatever_mark(text: str, whole: str) -> None:
    assert and_said(text, "So.") == whole


def test_a_wrong_rate_limit_is_told_both_right_ones() -> None:
    wrong: dict[str, object] = {"rate_limit": False}
    with pytest.raises(InvalidArgument, match=r"should be 'auto' or None"):
        ChatOpenAI(model="m", api_key="k", **wrong)
