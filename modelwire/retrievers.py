"""Retrievers: Runnables from a question to the documents that may answer it, and a decorator that makes one.

modelwire has no document store: write a retriever around yours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from pydantic import Field

from modelwire import callbacks as managers
from modelwire.aliases import JSON, Function, Kwargs
from modelwire.documents import Document
from modelwire.errors import InvalidType
from modelwire.runnables.base import Runnable
from modelwire.runnables.config import (
    RunnableConfig,
    changed,
    ensure_config,
    run_in_executor,
    settled,
)
from modelwire.runnables.deadline import check, covered
from modelwire.runnables.invoke_function import (
    acall_func_with_variable_args,
    accepted_kwargs,
    call_func_with_variable_args,
    extra_kwargs,
)
from modelwire.runnables.serializable import RunnableSerializable

if TYPE_CHECKING:
    from modelwire.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )

__all__ = [
    "BaseRetriever",
    "FunctionRetriever",
    "RetrieverInput",
    "RetrieverLike",
    "RetrieverOutput",
    "RetrieverOutputLike",
    "retriever",
]

RetrieverInput: TypeAlias = str
RetrieverOutput: TypeAlias = list[Document]
RetrieverLike: TypeAlias = Runnable[RetrieverInput, RetrieverOutput]
RetrieverOutputLike: TypeAlias = Runnable[Any, RetrieverOutput]
Search: TypeAlias = Callable[..., Iterable[Document]]
AsyncSearch: TypeAlias = Callable[..., Awaitable[list[Document]] | AsyncIterator[Document]]


class BaseRetriever(RunnableSerializable[RetrieverInput, RetrieverOutput]):
    """The base class of retrievers: override `_get_relevant_documents`, or `_aget_relevant_documents` for async calls.

    Both may take `run_manager`, to report events of the run, and further keywords, which `invoke` passes on.
    """

    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None

    @abstractmethod
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        """Return the documents for `query`."""

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        """Return the documents for `query`. The default runs the sync method in a thread."""
        return await self._search_in_thread(query, run_manager=run_manager)

    async def _search_in_thread(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        search: Search = self._get_relevant_documents
        if accepted_kwargs(search)[1]:
            kwargs["run_manager"] = run_manager.get_sync()
        return await run_in_executor(None, lambda: self._listed(search(query, **kwargs)))

    def invoke(
        self, input: RetrieverInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RetrieverOutput:
        """Return the documents for `input`."""
        config = settled(config)
        check(config.get("deadline"), self)
        manager = managers.CallbackManager.configure(**self._listeners(config))
        run = manager.on_retriever_start(None, input, **self._about(config))
        try:
            documents = self._found(input, changed(config, callbacks=run.get_child()), run, kwargs)
        except BaseException as exc:
            run.on_retriever_error(exc)
            raise
        run.on_retriever_end(documents)
        return documents

    async def ainvoke(
        self, input: RetrieverInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RetrieverOutput:
        config = settled(config)
        check(config.get("deadline"), self)
        manager = managers.AsyncCallbackManager.configure(**self._listeners(config))
        run = await manager.on_retriever_start(None, input, **self._about(config))
        try:
            documents = await self._afound(
                input, changed(config, callbacks=run.get_child()), run, kwargs
            )
        except BaseException as exc:
            await run.on_retriever_error(exc)
            raise
        await run.on_retriever_end(documents)
        return documents

    def _found(
        self, query: str, config: RunnableConfig, run: Any, kwargs: Kwargs
    ) -> list[Document]:
        documents = call_func_with_variable_args(
            self._get_relevant_documents, query, config, run, **kwargs
        )
        check(config.get("deadline"), self)
        return self._listed(documents)

    async def _afound(
        self, query: str, config: RunnableConfig, run: Any, kwargs: Kwargs
    ) -> list[Document]:
        native = type(self)._aget_relevant_documents is not BaseRetriever._aget_relevant_documents
        search = self._aget_relevant_documents if native else self._search_in_thread
        found = acall_func_with_variable_args(search, query, config, run, **kwargs)
        return self._listed(await covered(found, config.get("deadline"), self))

    def _listed(self, documents: Any) -> list[Document]:
        """Return the documents as a list. Raises: `InvalidType` if they are not an iterable of documents."""
        if isinstance(documents, (str, dict, Document)) or not hasattr(documents, "__iter__"):
            raise InvalidType(
                f"`{self.get_name()}` must return a list of `Document`, not a `{type(documents).__name__}`. "
                "Return `[Document(page_content=...), ...]`."
            )
        if isinstance(documents, list):
            return documents
        return list(documents)

    def _listeners(self, config: RunnableConfig) -> dict[str, Any]:
        return {
            "inheritable_callbacks": config.get("callbacks"),
            "inheritable_tags": config.get("tags"),
            "local_tags": self.tags,
            "inheritable_metadata": config.get("metadata"),
            "local_metadata": {**self._get_ls_params(), **(self.metadata or {})},
        }

    def _about(self, config: RunnableConfig) -> Kwargs:
        return {"name": config.get("run_name") or self.get_name(), "run_id": config.get("run_id")}

    def _get_ls_params(self, **kwargs: Any) -> JSON:
        """Return metadata of the run for handlers, under the names that tracers such as LangSmith know."""
        return {"ls_retriever_name": self.get_name().removesuffix("Retriever").lower()}


class FunctionRetriever(BaseRetriever):
    """A retriever around a plain function, as `retriever` returns it."""

    func: Search | None = Field(default=None, exclude=True)
    afunc: AsyncSearch | None = Field(default=None, exclude=True)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if self.func is None:
            raise InvalidType(
                f"`{self.get_name()}` has only an async function. Use `ainvoke` instead."
            )
        return self._listed(self.func(query, **_passed(self.func, kwargs, run_manager, sync=True)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if self.afunc is None:
            return await self._search_in_thread(query, run_manager=run_manager, **kwargs)
        found = self.afunc(query, **_passed(self.afunc, kwargs, run_manager, sync=False))
        if isinstance(found, AsyncIterator):
            return [one async for one in found]
        return await found


def _passed(func: Function, kwargs: Kwargs, manager: Any, *, sync: bool) -> Kwargs:
    """Return `kwargs` plus the run manager and the config, each only if `func` has a parameter for it."""
    takes = accepted_kwargs(func)
    return extra_kwargs(takes, kwargs, ensure_config() if takes[0] else {}, manager, sync=sync)


@overload
def retriever(func: Search | AsyncSearch, /) -> FunctionRetriever: ...
@overload
def retriever(
    *,
    name: str | None = None,
    tags: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], FunctionRetriever]: ...
def retriever(
    func: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    tags: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Any:
    """Return a retriever made from a function of a text that returns a list of documents, sync or async.

    The function may also take `run_manager`, `config` and further keywords. Raises: `InvalidType` without a function.
    """

    def made(func: Function) -> FunctionRetriever:
        from modelwire.runnables.functions import is_async

        if not callable(func):
            raise InvalidType(f"`@retriever` decorates a function, not a `{type(func).__name__}`.")
        searches = {"afunc": func} if is_async(func) else {"func": func}
        named = name or getattr(func, "__name__", None)
        return FunctionRetriever(name=named, tags=tags, metadata=metadata, **searches)

    return made if func is None else made(func)
