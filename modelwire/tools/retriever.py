"""Makes a tool of a retriever: the model gets the documents that it finds as text."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modelwire.tools.structured import StructuredTool

__all__ = ["RetrieverInput", "create_retriever_tool"]


class RetrieverInput(BaseModel):
    """The input of a retriever tool."""

    model_config = ConfigDict(defer_build=True)

    query: str = Field(description="query to look up in retriever")


def create_retriever_tool(
    retriever: Any,
    name: str,
    description: str,
    *,
    document_prompt: Any = None,
    document_separator: str = "\n\n",
    response_format: Literal["content", "content_and_artifact"] = "content",
) -> StructuredTool:
    """Return a tool whose output is the documents that a retriever finds, each formatted by `document_prompt`.

    With `response_format="content_and_artifact"` the documents themselves are the artifact.
    """

    def answer(documents: list[Any]) -> Any:
        text = document_separator.join(_text(document, document_prompt) for document in documents)
        if response_format == "content_and_artifact":
            return (text, documents)
        return text

    def search(query: str) -> Any:
        return answer(retriever.invoke(query))

    async def asearch(query: str) -> Any:
        return answer(await retriever.ainvoke(query))

    return StructuredTool(
        name=name,
        description=description,
        func=search,
        coroutine=asearch,
        args_schema=RetrieverInput,
        response_format=response_format,
    )


def _text(document: Any, prompt: Any) -> str:
    if prompt is None:
        return str(document.page_content)
    values = {"page_content": document.page_content, **document.metadata}
    return str(
        prompt.format(**{key: values[key] for key in prompt.input_variables if key in values})
    )
