"""Two chains over the rows of a table: the summary of the first feeds the second. One row at a time, then together.

python examples/two_chains.py [openai:gpt-4o-mini | local:smollm2 | ...]
With pandas the table is a data frame; without, it is read by the csv module.
"""

from __future__ import annotations

import asyncio
import csv
import io
import sys
import time

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, RunnablePassthrough, StrOutputParser

try:
    import pandas as pd
except ImportError:
    pd = None

TABLE = """city,review
Lisbon,The tram was late but the view from the hill was worth every minute of it.
Oslo,Cold and expensive and the hotel had lost our booking.
Kyoto,Quiet gardens and kind people and the best noodles of my life.
Cairo,Loud and hot and I would go again tomorrow.
Quito,The altitude made us ill for most of the week.
Perth,Nothing much to do but the beaches are clean and empty.
"""


def answer(request: str) -> str:
    task, _, text = request.partition(": ")
    return text.title() if "headline" in task else " ".join(text.split()[-5:])


model = chosen_model(sys.argv[1:], answer, max_tokens=32)
summarise = ChatPromptTemplate.from_template("In five words: {review}") | model | StrOutputParser()
entitle = ChatPromptTemplate.from_template("A headline for: {summary}") | model | StrOutputParser()
both = RunnablePassthrough.assign(summary=summarise) | RunnablePassthrough.assign(headline=entitle)

rows = (
    pd.read_csv(io.StringIO(TABLE)).to_dict("records")
    if pd
    else list(csv.DictReader(io.StringIO(TABLE)))
)

begin = time.perf_counter()
one_by_one = [both.invoke(row) for row in rows]
sequential_s = time.perf_counter() - begin

begin = time.perf_counter()
together = asyncio.run(both.abatch(rows, {"max_concurrency": 6}))
async_s = time.perf_counter() - begin

if pd:
    print(
        pd.DataFrame(together)[["city", "summary", "headline"]].to_string(
            index=False, max_colwidth=40
        )
    )
else:
    for row in together:
        print(f"{row['city']:>8}  {row['summary']:<40} {row['headline']}")
print(f"{len(rows)} rows: {sequential_s:.2f} s one by one, {async_s:.2f} s together")
