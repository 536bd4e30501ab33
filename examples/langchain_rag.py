"""Answers out of a text: LangChain's splitter, vector store and retriever in a chain of modelwire.

python examples/langchain_rag.py [openai:gpt-4o-mini | anthropic:claude-haiku-4-5 | local:smollm2 | ...]

Needs `pip install "modelwire[langchain]" langchain-text-splitters numpy`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from stand_in import chosen_model

from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnablePassthrough

TEXT = """The harbour opens at six in the morning and closes at ten at night.

A berth for one night is 20 francs; boats over twelve metres pay double.

The lighthouse may be visited on Sundays. Children go up with an adult."""


class WordCounts(Embeddings):
    """Counts words into 64 places: no model, no network. Take your own embeddings here."""

    def embed_query(self, text: str) -> list[float]:
        counts = Counter(sum(map(ord, word)) % 64 for word in re.findall(r"\w{4,}", text.lower()))
        return [float(counts[place]) for place in range(64)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


store = InMemoryVectorStore(WordCounts())
store.add_texts(RecursiveCharacterTextSplitter(chunk_size=80, chunk_overlap=0).split_text(TEXT))

prompt = ChatPromptTemplate.from_messages(
    [("user", "Answer from this: {found}\n\nQuestion: {question}")]
)
model = chosen_model(sys.argv[1:], lambda text: text.partition("this: ")[2].partition("\n")[0])
found = store.as_retriever(search_kwargs={"k": 1}) | (lambda documents: documents[0].page_content)
chain = (
    RunnablePassthrough()
    | {"found": found, "question": RunnablePassthrough()}
    | prompt
    | model
    | StrOutputParser()
)

for question in ("When does the harbour close at night?", "What does a berth for the night cost?"):
    print(f"\n{question}\n  ", end="")
    for piece in chain.stream(question):
        print(piece, end="", flush=True)
print()
