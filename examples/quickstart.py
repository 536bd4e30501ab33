"""A prompt, a model and a parser, called in every way; then the same chain over another provider's wire.

python examples/quickstart.py                        a real model on this machine, no key
python examples/quickstart.py openai:gpt-4o-mini     a provider, its key in the environment
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelwire import ChatPromptTemplate, ModelwireError, StrOutputParser, init_chat_model
from modelwire.callbacks import get_usage_metadata_callback

COUNTRIES = ["France", "Japan", "Italy", "Egypt", "Spain", "Germany", "Greece", "China"]
PARAMETERS: dict[str, Any] = {"temperature": 0, "max_tokens": 64}

prompt = ChatPromptTemplate.from_messages(
    [("system", "You answer briefly, in plain English."), ("human", "{question}")]
)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print what comes, and below it the tokens it took."""
    print(f"\n── {title}")
    begin = time.perf_counter()
    with get_usage_metadata_callback() as callback:
        yield
    seconds = time.perf_counter() - begin
    used = callback.usage_metadata.values()
    sent, made = (sum(usage[kind] for usage in used) for kind in ("input_tokens", "output_tokens"))
    print(f"   {sent} tokens in, {made} out, {made / seconds:.0f} tokens a second")


def tour(model: Any) -> None:
    """Call one chain in four ways."""
    chain = prompt | model | StrOutputParser()
    questions = [
        {"question": f"What is the capital of {country}? Answer in English."}
        for country in COUNTRIES
    ]

    with step("invoke"):
        print(chain.invoke({"question": "Say in one short sentence what a violin is."}))

    with step("stream: printed as it comes"):
        for piece in chain.stream({"question": "Say in one short sentence what a volcano is."}):
            print(piece, end="", flush=True)
        print()

    with step("batch: 8 questions, 4 at a time"):
        for country, answer in zip(
            COUNTRIES, chain.batch(questions, {"max_concurrency": 4}), strict=True
        ):
            print(f"{country:>8}: {answer}")

    with step("abatch: the same on an event loop"):
        answers = asyncio.run(chain.abatch(questions, {"max_concurrency": 4}))
        print(f"{len(answers)} answers, the last: {answers[-1]}")


def other_side(name: str) -> tuple[str, Any]:
    """Return the model of the other provider: one line of configuration is all that changes."""
    if name.startswith("local:"):
        return f"{name} over the Anthropic wire", init_chat_model(
            name, wire="anthropic", **PARAMETERS
        )
    if name.startswith("openai:") and os.environ.get("ANTHROPIC_API_KEY"):
        return "anthropic:claude-haiku-4-5", init_chat_model(
            "anthropic:claude-haiku-4-5", **PARAMETERS
        )
    if name.startswith("anthropic:") and os.environ.get("OPENAI_API_KEY"):
        return "openai:gpt-4o-mini", init_chat_model("openai:gpt-4o-mini", **PARAMETERS)
    return "the other provider: set its key too, and the same chain runs there", None


def main(name: str) -> None:
    print(f"━━ {name}")
    tour(init_chat_model(name, **PARAMETERS))
    title, model = other_side(name)
    print(f"\n━━ {title}")
    if model is not None:
        tour(model)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "local:smollm2")
    except ModelwireError as exc:
        sys.exit(f"quickstart: {exc}")
