"""The parser behind `with_structured_output`: what a stream yields before the answer is complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from modelwire.messages import AIMessageChunk
from modelwire.output_parsers.structured import StructuredOutputParser


class City(TypedDict):
    name: str
    people: int
    at: list[float]


class Place(BaseModel):
    people: int
    name: str = ""


TEXT = '{"name": "Bern 12", "people": 134000, "at": [46.95, -7.4e1]}'
VALUE = {"name": "Bern 12", "people": 134000, "at": [46.95, -74.0]}


def text_chunks(text: str, size: int = 1) -> Iterator[AIMessageChunk]:
    for start in range(0, len(text), size):
        yield AIMessageChunk(text[start : start + size])


def call_chunks(text: str, size: int = 1) -> Iterator[AIMessageChunk]:
    for start in range(0, len(text), size):
        name = "City" if start == 0 else None
        args = text[start : start + size]
        call = {"name": name, "args": args, "id": name, "index": 0}
        yield AIMessageChunk("", tool_call_chunks=[call])


def fenced_chunks(text: str) -> Iterator[AIMessageChunk]:
    return text_chunks(f"Here:\n```json\n{text}\n```")


WAYS: dict[str, Any] = {"text": text_chunks, "call": call_chunks, "fenced": fenced_chunks}


@pytest.mark.parametrize("way", WAYS)
def test_a_number_comes_when_its_last_digit_is_there(way: str) -> None:
    parser = StructuredOutputParser(key_name="City" if way == "call" else None)
    parts = list(parser.transform(WAYS[way](TEXT)))
    assert parts[0] == {}
    assert {"name": "Bern 1"} in parts
    assert {"name": "Bern 12", "people": 134000, "at": [46.95]} in parts
    assert parts[-1] == VALUE
    for part in parts:
        assert part.get("people", 134000) == 134000
        assert set(part.get("at", ())) <= {46.95, -74.0}


def test_an_object_is_not_made_of_half_a_number() -> None:
    parser = StructuredOutputParser(pydantic_object=Place)
    parts = list(parser.transform(text_chunks('{"people": 134000, "name": "Bern"}')))
    assert [part.people for part in parts] == [134000] * len(parts)
    assert [part.name for part in parts] == ["", "B", "Be", "Ber", "Bern"]


def test_a_number_alone_comes_once() -> None:
    assert list(StructuredOutputParser().transform(text_chunks("120"))) == [120]
