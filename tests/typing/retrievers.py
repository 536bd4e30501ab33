"""Retrievers as users write them; mypy and pyright read this, nothing runs it."""

from __future__ import annotations

from typing import assert_type

from modelwire import ChatOpenAI, ChatPromptTemplate, RunnablePassthrough, StrOutputParser
from modelwire.callbacks import CallbackManagerForRetrieverRun
from modelwire.documents import Document
from modelwire.retrievers import BaseRetriever, retriever


@retriever
def search(query: str, k: int = 4) -> list[Document]:
    return [Document(query)] * k


@retriever(name="notes", tags=["sql"])
async def asearch(query: str) -> list[Document]:
    return [Document(page_content=query, metadata={"page": 1})]


class Notes(BaseRetriever):
    k: int = 4

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return []


def format_docs(documents: list[Document]) -> str:
    return " ".join(document.page_content for document in documents)


assert_type(search.invoke("q"), list[Document])
assert_type(Notes(k=3).invoke("q"), list[Document])
assert_type(Notes().batch(["q"]), list[list[Document]])

prompt = ChatPromptTemplate.from_template("{context} {question}")
model = ChatOpenAI(model="gpt-4o-mini")
chain = (
    {"context": asearch | format_docs, "question": RunnablePassthrough()}
    | prompt
    | model
    | StrOutputParser()
)
assert_type(chain.invoke("q"), str)
