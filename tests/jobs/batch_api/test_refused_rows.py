"""Rows of a batch that were refused, or whose answer the provider suspended, are failed rows and never answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import IncompleteAnswer, ModelRefusalError, Refused
from modelwire.jobs import run_job, submit_batch
from modelwire.testing import Answer, ProviderServer

Serve = Callable[..., ProviderServer]
WIRES = ["openai", "responses", "anthropic", "gemini"]


def answer(request: Any) -> Any:
    if "bad" in request.text:
        return Answer(refusal="I cannot.", usage={"input_tokens": 7, "output_tokens": 5})
    return Answer("Fine.")


@pytest.mark.parametrize("wire", WIRES)
def test_a_refused_row_is_an_error_that_was_paid_for(
    serve: Serve, tmp_path: Path, wire: Any
) -> None:
    model = serve(default=answer).model(wire)
    job = submit_batch(model, ["good", "bad", "fair"], dir=tmp_path / "job").wait()
    results = list(job.results())
    assert [result.status for result in results] == ["succeeded", "errored", "succeeded"]
    refused = results[1]
    assert type(refused.error) is Refused
    assert not refused.retryable
    assert refused.output is None
    assert refused.usage["output_tokens"] == 5
    job.write(tmp_path / "o.jsonl")
    assert '"error":"Refused: ' in (tmp_path / "o.jsonl").read_text().replace('": "', '":"')


@pytest.mark.parametrize("wire", WIRES)
def test_on_refusal_message_is_an_answer_with_the_reason(
    serve: Serve, tmp_path: Path, wire: Any
) -> None:
    model = serve(default=answer).model(wire, on_refusal="message")
    (result,) = submit_batch(model, ["bad"], dir=tmp_path / "job").wait().results()
    assert (result.status, result.error) == ("succeeded", None)
    assert result.output.text == "I cannot."


def test_a_refused_row_of_a_form_has_the_error_of_a_form(serve: Serve, tmp_path: Path) -> None:
    schema = {"title": "a", "type": "object", "properties": {"b": {"type": "string"}}}
    chain = serve(default=answer).model().with_structured_output(schema)
    (result,) = submit_batch(chain, ["bad"], dir=tmp_path / "job").wait().results()
    assert isinstance(result.error, ModelRefusalError)


def paused(text: str, reason: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [{"type": "text", "text": text}],
        "stop_reason": reason,
        "usage": {"input_tokens": 10, "output_tokens": 3},
    }


def test_a_suspended_row_is_continued_live(serve: Serve, tmp_path: Path) -> None:
    server = serve(default="Fine.")
    server.say(paused("The first half", "pause_turn"))
    job = submit_batch(server.model("anthropic"), ["long"], dir=tmp_path / "job").wait()
    (result,) = job.results()
    assert result.status == "errored"
    assert isinstance(result.error, IncompleteAnswer)
    assert result.error.partial.text == "The first half"
    assert result.retryable
    server.say(paused("The first half", "pause_turn"), paused(" and the rest", "end_turn"))
    assert job.finish_live() == 1
    (result,) = job.results()
    assert result.output.text == "The first half and the rest"


def test_a_response_that_is_in_progress_is_no_answer(serve: Serve, tmp_path: Path) -> None:
    body = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    server = serve(default="Fine.")
    server.say(body)
    (result,) = submit_batch(server.model("responses"), ["a"], dir=tmp_path / "j").wait().results()
    assert isinstance(result.error, IncompleteAnswer)


def test_a_batch_job_of_the_command_counts_its_refused_rows(serve: Serve, tmp_path: Path) -> None:
    server = serve(default=answer)
    rows = [{"q": "good"}, {"q": "bad"}]
    options: Any = {"output": tmp_path / "o.jsonl", "quiet": True}
    result = run_job("{q}", rows, model=server.model(), **options)
    assert (result.failed, result.refused) == (1, 1)
