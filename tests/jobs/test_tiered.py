"""`tiered_batch`: two prices, one order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import InvalidArgument, Timeout
from modelwire.jobs import atiered_batch, tiered_batch
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import BatchPlan, ProviderServer

WORDS = ["one", "two", "three", "four", "five"]


def chain(server: ProviderServer, wire: str) -> Any:
    prompt = ChatPromptTemplate.from_template("Say {word}")
    return prompt | server.model(wire) | StrOutputParser()


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_results_stand_in_input_order_whichever_way_they_came(
    wire: str, colour: str, tmp_path: Path
) -> None:
    inputs = [{"word": word} for word in WORDS]
    with ProviderServer() as server:
        asking = chain(server, wire)
        alone = [asking.invoke(value) for value in inputs]
        before = sum(request.wire in ("openai", "anthropic") for request in server.requests)
        priorities: Any = ["high", "low", "low", "high", "low"]
        given = {"dir": tmp_path / "b.job", "poll": 0.01, "timeout": 30}
        if colour == "sync":
            tiered = tiered_batch(asking, inputs, priorities, **given)
        else:
            tiered = asyncio.run(atiered_batch(asking, inputs, priorities, **given))
        live = [
            r
            for r in list(server.requests)[before:]
            if r.path.endswith(("/chat/completions", "/messages"))
        ]
    assert tiered == alone
    assert len(live) == 2


def test_a_function_may_give_the_priorities_and_all_may_be_urgent(tmp_path: Path) -> None:
    inputs = [{"word": word} for word in WORDS]
    with ProviderServer() as server:
        asking = chain(server, "openai")
        answers = tiered_batch(asking, inputs, lambda _: "high", dir=tmp_path / "b.job")
    assert len(answers) == 5
    assert not (tmp_path / "b.job").exists()


def live_calls(server: ProviderServer) -> int:
    return sum(
        request.path.endswith(("/chat/completions", "/messages")) for request in server.requests
    )


@pytest.mark.long
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("own_folder", [False, True])
def test_live_answers_survive_a_timeout(
    wire: str, colour: str, own_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    priorities: Any = ["high", "low", "high", "low", "high"]
    broken = [1]

    def parse(text: str) -> str:
        if text == "Say five" and broken:
            raise ValueError("odd one")
        return text.upper()

    with ProviderServer(batches=BatchPlan(polls=4)) as server:
        asking = chain(server, wire) | RunnableLambda(parse)

        def call(**options: Any) -> list[Any]:
            given: Any = {"poll": 0.01, "return_exceptions": True, **options}
            inputs = [{"word": word} for word in WORDS]
            if colour == "sync":
                return tiered_batch(asking, inputs, priorities, **given)
            return asyncio.run(atiered_batch(asking, inputs, priorities, **given))

        with pytest.raises(Timeout, match=r"batch-.*\.job`: call again|b\.job`: call again"):
            call(timeout=0, dir=None if own_folder else tmp_path / "b.job")
        (folder,) = tmp_path.iterdir()
        assert live_calls(server) == 3
        answers = call(dir=folder)
        assert answers[:4] == ["SAY ONE", "SAY TWO", "SAY THREE", "SAY FOUR"]
        assert isinstance(
            answers[4], ValueError
        )  # a step after the model fails: its answer is kept all the same
        broken.clear()
        assert call(dir=folder)[4] == "SAY FIVE"
        assert live_calls(server) == 3 and len(server.batches.made) == 1


def test_an_input_that_became_another_is_asked_again(tmp_path: Path) -> None:
    with ProviderServer() as server:
        asking = chain(server, "openai")
        priorities: Any = ["high", "low"]
        for first in ("one", "three"):
            inputs = [{"word": first}, {"word": "two"}]
            answers = tiered_batch(asking, inputs, priorities, dir=tmp_path / "b.job", poll=0.01)
            assert answers == [f"Say {first}", "Say two"]
        assert live_calls(server) == 2


@pytest.mark.parametrize("refused", [False, True])
def test_a_folder_of_its_own_goes_when_all_have_an_answer(
    refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plans = [BatchPlan(rows={0: "missing"})] if refused else []
    with ProviderServer(batches=plans) as server:
        tiered_batch(
            server.model("openai"), WORDS[:2], lambda _: "low", poll=0.01, return_exceptions=True
        )
    assert len(list(tmp_path.iterdir())) == int(refused)


def test_a_failure_is_raised_or_stands_in_its_place(tmp_path: Path) -> None:
    def odd(value: Any) -> Any:
        if value == "Say two":
            raise ValueError("odd one")
        return value

    with ProviderServer() as server:
        asking = RunnableLambda(lambda v: f"Say {v}") | RunnableLambda(odd) | server.model("openai")
        answers = tiered_batch(asking, WORDS[:3], ["high"] * 3, return_exceptions=True)
        assert [type(answer).__name__ for answer in answers] == [
            "AIMessage",
            "ValueError",
            "AIMessage",
        ]
        with pytest.raises(ValueError, match="odd one"):
            tiered_batch(asking, WORDS[:3], ["high"] * 3)


@pytest.mark.parametrize("priorities", [["high"], ["high", "urgent"], []])
def test_priorities_that_cannot_be_are_refused(priorities: Any) -> None:
    with ProviderServer() as server, pytest.raises(InvalidArgument, match=r"priorit"):
        tiered_batch(server.model("openai"), ["a", "b"], priorities)
