"""Question answering over a full-text search, and the events of every part of it: retriever, prompt, model, parser.

python examples/retrieval_events.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, RunnablePassthrough, StrOutputParser
from modelwire.documents import Document
from modelwire.retrievers import retriever

NOTES = {
    "violin": "A violin has four strings, tuned in fifths: G, D, A and E.",
    "cello": "A cello is tuned an octave below the viola, and is played sitting.",
    "volcano": "A volcano is a rupture in the crust that lets lava and gases escape.",
}
store = sqlite3.connect(":memory:", check_same_thread=False)
store.execute("CREATE VIRTUAL TABLE notes USING fts5(title, text)")
store.executemany("INSERT INTO notes VALUES (?, ?)", NOTES.items())


@retriever(tags=["fts5"])
def search(query: str, k: int = 2) -> list[Document]:
    """Find the notes that share a word with the query, the best match first."""
    words = " OR ".join(re.findall(r"\w{4,}", query)) or '""'
    rows = store.execute(
        "SELECT title, text FROM notes WHERE notes MATCH ? ORDER BY rank LIMIT ?", (words, k)
    )
    return [Document(page_content=text, metadata={"title": title}) for title, text in rows]


def format_docs(documents: list[Document]) -> str:
    return "\n".join(
        f"[{document.metadata['title']}] {document.page_content}" for document in documents
    )


prompt = ChatPromptTemplate.from_template(
    "Answer from these notes only:\n{context}\n\nQuestion: {question}"
)
model = chosen_model(sys.argv[1:], lambda text: "It has four strings.", max_tokens=64)
chain = (
    {"context": search | format_docs, "question": RunnablePassthrough()}
    | prompt
    | model
    | StrOutputParser()
)


async def main() -> None:
    async for event in chain.astream_events("How many strings does a violin have?", version="v2"):
        data = event["data"]
        seen = next(
            (f"{key}: {data[key]!r}" for key in ("chunk", "output", "input") if key in data), ""
        )
        print(f"{event['event']:<22} {event['name']:<34} {seen[:70]}")


asyncio.run(main())
store.close()
