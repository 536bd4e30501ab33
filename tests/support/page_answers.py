"""What the model answers to pages that `modelwire/testing/page_answers.json` has no answers for.

An answer is found by a part of the latest message, first match first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from modelwire.testing import Answer

ANSWERS: dict[str, Mapping[str, Any]] = {}


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
