"""Two questions about every row of a table: a summary with its sentiment, then five features from that summary.

python examples/wine_reviews/wine_reviews.py [openai:gpt-4o-mini | local:smollm2 | ...] [--limit N] [--output FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from modelwire import (
    ChatPromptTemplate,
    ModelwireError,
    RunnableLambda,
    RunnablePassthrough,
    init_chat_model,
)
from modelwire.jobs import run_job

HERE = Path(__file__).parent


class Summary(TypedDict):
    """What a review says."""

    summary: Annotated[str, ..., "one short sentence"]
    sentiment: Literal["positive", "negative", "mixed"]


class Features(TypedDict):
    """What a wine is like."""

    colour: Literal["red", "white", "rosé", "unknown"]
    sweetness: Literal["dry", "sweet", "unknown"]
    body: Literal["light", "medium", "full", "unknown"]
    fruit: Literal["citrus", "orchard", "tropical", "berry", "stone fruit", "dried", "none"]
    drink: Literal["now", "later", "never"]


ASK_SUMMARY = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "You sum up reviews of wine as JSON: `summary`, one short sentence on the taste, then `sentiment`.",
        ),
        ("human", "Stewed plums and far too much oak. I poured it away."),
        (
            "ai",
            '{{"summary": "It tastes of stewed plums and too much oak.", "sentiment": "negative"}}',
        ),
        ("human", "{review}"),
    ]
)
ASK_FEATURES = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "You name features of a wine as JSON: `colour`, `sweetness`, `body`, `fruit`, and when to `drink` it.",
        ),
        ("human", "{summary}"),
    ]
)


def side_by_side(answer: dict[str, Any]) -> dict[str, Any]:
    """Make every feature a column of its own."""
    return {"summary": answer["summary"], "sentiment": answer["sentiment"], **answer["features"]}


def chain_of(model: Any) -> Any:
    summarise = ASK_SUMMARY | model.with_structured_output(Summary)
    describe = ASK_FEATURES | model.with_structured_output(Features)
    return summarise | RunnablePassthrough.assign(features=describe) | RunnableLambda(side_by_side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="local:smollm2")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", default="wine_features.csv")
    options = parser.parse_args()
    model = init_chat_model(options.model, temperature=0, max_tokens=128)
    at_once = (
        8 if options.model.startswith("local:") else None
    )  # one machine answers four at a time
    result = run_job(
        chain_of(model),
        HERE / "reviews.csv",
        output=options.output,
        limit=options.limit,
        max_concurrency=at_once,
    )
    print(result)
    for row in result:
        found = [row.get(name) for name in ("sentiment", "colour", "fruit")]
        print(f"{row['grape'] or '?':>20}  {', '.join(found) if all(found) else row['error'][:80]}")
    print(f"All of it is in {result.output}; run it again, and nothing is asked twice.")


if __name__ == "__main__":
    try:
        main()
    except ModelwireError as exc:
        raise SystemExit(f"wine_reviews: {exc}") from exc
