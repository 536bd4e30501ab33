"""What the model of each page answers: by a part of the latest message, first match first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from modelwire.testing import Answer

BERN = {"capital of Switzerland": "Bern is the capital of Switzerland."}
UMBRELLA: dict[str, Any] = {
    "rain": "Yes, it rains in Bern.",
    "in Bern": Answer(tool_calls=[{"name": "weather", "args": {"city": "Bern"}}]),
    "KeyError": "I know nothing of Atlantis.",
    "Atlantis": Answer(tool_calls=[{"name": "weather", "args": {"city": "Atlantis"}}]),
}
TWICE_WRONG = '{"wine": "unknown", "points": 250, "flaws": []}'

ANSWERS: dict[str, Mapping[str, Any]] = {
    "../README.md": {
        "a volcano is": "A volcano is a hole in the ground with fire in it.",
        "violin in stock": Answer(tool_calls=[{"name": "in_stock", "args": {"thing": "violin"}}]),
        '"3"': "Yes, three of them.",
        "bears": '{"name": "Bern", "people": 134000}',
    },
    "caching.md": BERN,
    "index.md": BERN,
    "learn/first-answer.md": {**BERN, "my cat": "Your cat is called Mia."},
    "learn/chains-and-streaming.md": {
        "compass": "A compass shows where north is.",
        "volcano": "A volcano is a hole in the ground with fire in it.",
    },
    "learn/tools.md": UMBRELLA,
    "learn/structured-output.md": {
        "2019": '{"wine": "Dão 2019", "points": 88, "flaws": ["served too warm"]}',
        "bears": '{"name": "Bern", "people": 134000}',
        "less than or equal to 100": '{"wine": "unknown", "points": 0, "flaws": ["awful"]}',
        "awful": TWICE_WRONG,
    },
    "learn/images-pdf-audio.md": {"image/png": "It is red."},
    "learn/tables.md": {},
    "learn/watching.md": {**BERN, "Portugal": "Lisbon."},
    "learn/swapping-providers.md": {**BERN, "Why": "Because it rains there.", **UMBRELLA},
}


def taste(request: Any) -> str:
    """Judge a wine, in a word or in the form that is asked for."""
    good = "sour" not in request.text
    if "response_format" not in request.fields:
        return "Good" if good else "Bad"
    return json.dumps({"good": good, "word": "pear" if good else "sour"})


ANSWERS["learn/tables.md"] = {"Good or bad": taste}


def capital(request: Any) -> str:
    """Say a capital, each model in words of its own."""
    return (
        "The capital of Peru is Lima."
        if request.model == "gpt-4o"
        else "Lima is the capital of Peru."
    )


def table(request: Any) -> Answer:
    """Book a table: the smaller model for too few."""
    people = 2 if request.model == "gpt-4o-mini" else 4
    return Answer(tool_calls=[{"name": "book", "args": {"place": "Roma", "people": people}}])


ANSWERS["compare.md"] = {"same, so that": "yes", "Peru": capital, "Roma": table}


# What a page that shows parts of programs takes for granted.
BEFORE = {
    "jobs.md": """
from pathlib import Path
import pandas
from pydantic import BaseModel
from modelwire import ChatPromptTemplate, RunnablePassthrough, StrOutputParser, init_chat_model
from modelwire.jobs import BatchJob
Path("reviews.csv").write_text("id,review\\n1,Crisp.\\n2,Sour.\\n")
frame = pandas.DataFrame({"review": ["Crisp.", "Sour."]})
rows = [{"review": "Crisp."}, {"review": "Sour."}]
model = small = large = init_chat_model("openai:gpt-4o-mini")
prompt = ChatPromptTemplate.from_template("Features of: {review}")
""",
}
ANSWERS["jobs.md"] = {"Features of": '{"grape": null, "dry": true}'}


def answer_for(answers: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a function of the request; where a page asks what has no answer here, the user's text comes back."""

    def answer(request: Any) -> Any:
        latest = json.dumps(request.messages[-1], ensure_ascii=False)
        found = next((one for part, one in answers.items() if part in latest), None)
        return (
            Answer(request.text) if found is None else found(request) if callable(found) else found
        )

    return answer
