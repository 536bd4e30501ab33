"""The table of `docs/providers.md` says of each provider what is tested, and how; here it is made anew and compared."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.recordings import records

from modelwire.adapters.providers.registry import PROVIDERS
from modelwire.adapters.providers.services import SERVICES, Service, service_of

PAGE = (Path(__file__).parents[1] / "docs" / "providers.md").read_text(encoding="utf-8")

FEATURES = (
    "invoke",
    "stream",
    "usage in streams",
    "tools",
    "structured output",
    "reasoning",
    "images",
)
WIRES = {"anthropic": "Messages", "responses": "Responses", "openai": "Chat"}
ENDPOINTS = {
    "anthropic": "anthropic_messages",
    "responses": "openai_responses",
    "openai": "openai_chat",
    "gemini": "gemini_generate",
    "bedrock": "bedrock_converse",
}
# Tried with answers of the documentation's form, by tests of their own.
SYNTHETIC = ("google_anthropic_vertex",)
NAMES = {
    "azure": "azure_openai",
    "mistral": "mistralai",
    "google-openai-compat": "google_openai",
    "google": "google_genai",
    "bedrock": "bedrock_converse",
    "vertex": "google_vertexai",
    "litellm-proxy": "litellm",
}
# `tests/local` has a real model on this machine, which llama.cpp serves.
LIVE = ("local", "llamacpp")
LIVE_FEATURES = FEATURES[:5]
CELLS = r"(recorded \d+|recorded \d+ \(Responses\)|synthetic|live local|untested)"


def _told() -> dict[str, list[str]]:
    """Return the cells of the page, by provider."""
    table = PAGE.split("| provider |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {name.strip("`"): cells for name, *cells in rows}


def _features(record: dict[str, Any]) -> set[str]:
    expected, flags = record["expected"], set(record["features"])
    found = {
        "invoke": not record["stream"],
        "stream": record["stream"],
        "usage in streams": record["stream"] and expected["usage"],
        "tools": expected["tool_calls"],
        "structured output": flags & {"json_schema_out", "json_object_out"},
        "reasoning": expected["reasoning_text"] or expected["opaque"],
        "images": "image_in" in flags,
    }
    return {name for name, there in found.items() if there}


def _recorded() -> Counter[tuple[str, str, str]]:
    """Count the recorded answers, by provider, endpoint and feature."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for record in records(failed=False):
        if record["endpoint"] in ENDPOINTS.values():
            name = NAMES.get(record["provider"], record["provider"])
            counts.update((name, record["endpoint"], feature) for feature in _features(record))
    return counts


def _is_synthetic(service: Service | None, feature: str) -> bool:
    """Tell what `tests/adapters/providers/test_services.py` does with every row."""
    return service is not None and (feature != "reasoning" or bool(service.reasoning_at))


def _expected(name: str, recorded: Counter[tuple[str, str, str]]) -> list[str]:
    service = SERVICES.get(name)
    cells = []
    for feature in FEATURES:
        if name in LIVE and feature in LIVE_FEATURES:
            cells.append("live local")
        elif number := recorded[
            name, ENDPOINTS[PROVIDERS[name].wire if name in PROVIDERS else "openai"], feature
        ]:
            cells.append(f"recorded {number}")
        elif number := recorded[name, "openai_responses", feature]:
            cells.append(f"recorded {number} (Responses)")
        else:
            cells.append(
                "synthetic" if name in SYNTHETIC or _is_synthetic(service, feature) else "untested"
            )
    others = (
        service.speaks()[1:]
        if service
        else [wire for wire in PROVIDERS[name].wires if wire != PROVIDERS[name].wire]
    )
    wires = []
    for wire in others:
        seen = recorded[name, ENDPOINTS[wire], "invoke"] + recorded[name, ENDPOINTS[wire], "stream"]
        wires.append(
            f"{WIRES[wire]}: {'live local' if name in LIVE else f'recorded {seen}' if seen else 'synthetic'}"
        )
    return [*cells, "; ".join(wires) or "none known"]


def test_every_provider_has_its_row_and_every_cell_is_a_word_of_the_legend() -> None:
    told = _told()
    assert list(told) == [*(name for name in PROVIDERS if name != "local"), *SERVICES, "local"]
    for name, cells in told.items():
        assert len(cells) == len(FEATURES) + 1, name
        assert all(re.fullmatch(CELLS, cell) for cell in cells[:-1]), name
        assert re.fullmatch(rf"none known|(\w+: {CELLS})(; \w+: {CELLS})*", cells[-1]), name


def test_every_cell_says_how_it_is_tested() -> None:
    recorded, told = _recorded(), _told()
    print(
        "\n".join(f"| `{name}` | {' | '.join(_expected(name, recorded))} |" for name in told)
    )  # the page's table
    assert told == {name: _expected(name, recorded) for name in told}


def test_every_service_is_listed_with_its_key_its_names_and_its_docs() -> None:
    for row in SERVICES.values():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| [`{row.name}`](")]
        assert row.docs in line
        for name in (*row.keys[:1], *row.place, *row.aliases):
            assert f"`{name}`" in line, name
        for parameter in (*row.lacks, *(word for pair in row.renames for word in pair)):
            assert f"`{parameter}`" in line, parameter


def test_the_models_of_the_pages_examples_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every block of Python on the page that makes no call."""
    for row in SERVICES.values():
        for variable in row.keys:
            monkeypatch.setenv(variable, "k")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com")
    monkeypatch.setenv("SNOWFLAKE_ACCOUNT", "my-account")
    ours = PAGE.split("## Parameters")[0]
    blocks = re.findall(r"```python\n(.*?)```", ours, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "docs/providers.md", "exec"), {})


def test_every_provider_that_the_page_names_is_known() -> None:
    for name in re.findall(r'init_chat_model\("([\w.-]+):', PAGE):
        assert name in PROVIDERS or service_of(name) is not None, name
