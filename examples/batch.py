"""Many questions at once, five at a time: `batch`, `abatch`, and the answers as they come.

python examples/batch.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, RunnableConfig, StrOutputParser

CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Egypt": "Cairo",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Greece": "Athens",
    "China": "Beijing",
}


def answer(question: str) -> str:
    return next(
        f"The capital of {land} is {town}." for land, town in CAPITALS.items() if land in question
    )


prompt = ChatPromptTemplate.from_template(
    "What is the capital of {country}? Answer in English, in one sentence."
)
chain = (
    prompt | chosen_model(sys.argv[1:], answer, max_tokens=32, temperature=0) | StrOutputParser()
)
questions = [{"country": country} for country in CAPITALS]
config = RunnableConfig(max_concurrency=5)

print("batch: in the order of the questions")
for country, text in zip(CAPITALS, chain.batch(questions, config), strict=True):
    print(f"{country:>8}: {text}")

print("abatch: the same on an event loop; what fails stands in its place")
broken = [*questions[:2], {"town": "Paris"}]
for outcome in asyncio.run(chain.abatch(broken, config, return_exceptions=True)):
    print(f"   {type(outcome).__name__:>15}: {outcome}")

print("batch_as_completed: whoever is ready first")
for position, text in chain.batch_as_completed(questions, config):
    print(f"   question {position}: {text}")
