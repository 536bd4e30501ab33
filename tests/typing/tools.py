"""What type checkers infer for tools and structured output. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, TypedDict, assert_type

from pydantic import BaseModel

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.model.base import RawAnswer
from modelwire.language_models import LanguageModelInput
from modelwire.messages import AIMessage
from modelwire.runnables import Runnable, RunnableLambda
from modelwire.tools import BaseTool, StructuredTool, tool


class Person(BaseModel):
    name: str


class PersonDict(TypedDict):
    name: str


@tool
def find(name: str) -> str:
    """Find somebody."""
    return name


@tool
async def look(name: str, times: int = 1) -> list[str]:
    """Look for somebody."""
    return [name] * times


async def looks() -> None:
    assert_type(await look.coroutine("Ann", times=2), list[str])


@tool("search", return_direct=True)
def search(name: str) -> str:
    """Search somebody."""
    return name


class Finder(BaseTool):
    name: str = "finder"
    description: str = "Find somebody."
    args_schema: type[BaseModel] = Person

    def _run(self, name: str) -> str:
        return name


def text(x: str) -> str:
    return x


model = ChatOpenAI(model="m")
found: BaseTool = find
assert_type(find.func("Ann"), str)
assert_type(search.func(name="Ann"), str)
find.func(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_type(tool("text", RunnableLambda(text)), BaseTool)
assert_type(StructuredTool.from_function(text, description="d"), StructuredTool)
assert_type(Finder().invoke({"name": "Ann"}), Any)
assert_type(
    model.bind_tools([find, text, Person, {"name": "n"}], tool_choice="any").invoke("hi"), AIMessage
)
assert_type(model.with_structured_output(Person), Runnable[LanguageModelInput, Person])
assert_type(
    model.with_structured_output(Person, include_raw=True).invoke("hi")["parsed"], Person | None
)
model.invoke(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
model.bind_tools(["find"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
assert_type(
    model.with_structured_output(Person, method="json_schema", strict=True).invoke("hi"), Person
)
assert_type(ChatAnthropic(model="m").with_structured_output(PersonDict).invoke("hi"), PersonDict)
assert_type(model.with_structured_output({"title": "n"}).invoke("hi"), dict[str, Any])
assert_type(model.with_structured_output(Person, include_raw=True).invoke("hi"), RawAnswer[Person])
