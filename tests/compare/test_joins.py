"""A comparison joins answers to calls by their ids: a job that stops leaves gaps in its result."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelwire.adapters import ChatOpenAI
from modelwire.compare import compare
from modelwire.testing import recorded

pytest.importorskip("genai_prices")
Reply = tuple[int, str]


class Provider(ThreadingHTTPServer):
    """Answers the last message of each request by `reply`: a status and a text."""

    daemon_threads = True

    def __init__(self, reply: Callable[[str], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, text = self.server.reply(body["messages"][-1]["content"])
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12}
        answer: Any = {"id": "c", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}
        if status != 200:
            answer = {"error": {"message": text}}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Provider]]:
    opened: list[Provider] = []

    def start(reply: Callable[[str], Reply]) -> Provider:
        opened.append(Provider(reply))
        return opened[-1]

    yield start
    for one in opened:
        one.shutdown()
        one.server_close()


def model_at(server: Provider, model: str = "gpt-4o-mini") -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=server.url, api_key="k", max_retries=0, max_tokens=100)


def test_a_call_without_a_result_does_not_get_the_answer_of_the_next(
    serve: Any, tmp_path: Path
) -> None:
    second_is_answered = threading.Event()

    def reply(text: str) -> Reply:
        if text.startswith("first"):
            second_is_answered.wait(10)
            time.sleep(0.3)  # until that answer has come
            return 400, "refused"
        second_is_answered.set()
        return 200, f"to {text[:6]}"

    path = tmp_path / "run.jsonl"
    then = serve(lambda text: (200, "then"))
    with recorded(path):
        for text in ("first", "second", "third " + "and very long " * 20_000):
            model_at(then).invoke(text)
    found = compare(path, [model_at(serve(reply), "gpt-4o")], max_cost=0.02)
    (outcomes,) = zip(*[row.outcomes.values() for row in found.rows], strict=True)
    assert [one.text for one in outcomes] == ["", "to second", ""]
    assert outcomes[0].error is not None
    assert "max_cost" in (outcomes[2].error or "")


def test_the_verdict_of_a_judge_goes_to_the_pair_that_it_is_about(
    serve: Any, tmp_path: Path
) -> None:
    last_is_judged = threading.Event()

    def judge(text: str) -> Reply:
        if "answer 0" in text:
            last_is_judged.wait(10)
            time.sleep(0.3)  # until that verdict has come
            return 400, "refused"
        last_is_judged.set()
        return 200, "yes"

    path = tmp_path / "run.jsonl"
    then = serve(lambda text: (200, "something else"))
    with recorded(path):
        for number in range(2):
            model_at(then).invoke(f"question {number}")
        model_at(then).invoke("question 2 " + "and very long " * 20_000)
    now = serve(lambda text: (200, f"answer {text.split()[1]}"))
    judging = model_at(serve(judge), "gpt-4o")
    found = compare(path, [model_at(now)], judge=judging, max_cost=0.02)
    (outcomes,) = zip(*[row.outcomes.values() for row in found.rows], strict=True)
    assert [one.same_meaning for one in outcomes] == [None, True, None]
