"""One adapter a contender: the same questions, asked as that library's users ask them.

Everything is imported inside the classes, so that a missing library is a missing column and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

__all__ = ["CONTENDERS", "QUESTION", "Contender", "NotInstalled", "imported"]

QUESTION = "What is the capital of France?"
Take = Callable[[str], object]  # is handed the text of each chunk


class NotInstalled(Exception):
    """This contender cannot run in this interpreter, or has no such way of calling."""


class Contender(ABC):
    """One library, aimed at one root URL (which ends before `/v1`) on one wire ("openai" or "anthropic").

    The `read_*` methods consume one whole stream. The bare ones must be the plain loop a user would write.
    """

    distributions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: str, wire: str) -> None:
        self.root = root
        self.wire = wire
        self.url = f"{root}/v1/chat/completions" if wire == "openai" else f"{root}/v1/messages"

    @classmethod
    def versions(cls) -> str:
        """Name what is measured; raise `NotInstalled` if none of it is installed."""
        found = []
        for name in cls.distributions:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found.append(f"{name} {importlib.metadata.version(name)}")
        if not found:
            raise NotInstalled(", ".join(cls.distributions))
        return ", ".join(found)

    @abstractmethod
    async def acall(self) -> str: ...

    def call(self) -> str:
        raise NotInstalled("no synchronous call")

    @abstractmethod
    async def read_astream(self, take: Take) -> None: ...

    def read_stream(self, take: Take) -> None:
        raise NotInstalled("no synchronous stream")

    async def acall_chain(self) -> str:
        raise NotInstalled("no chains")

    async def read_chain(self, take: Take) -> None:
        """Stream `prompt | model | parser`."""
        raise NotInstalled("no chains")

    async def read_events(self, take: Take) -> None:
        """Stream the model's `astream_events`."""
        raise NotInstalled("no events")


class _Bare(Contender):
    """What the two bare HTTP clients share: the request and where the text is."""

    def __init__(self, root: str, wire: str) -> None:
        super().__init__(root, wire)
        self.headers = {"Authorization": "Bearer x"} if wire == "openai" else _ANTHROPIC_HEADERS
        self.body: dict[str, Any] = {
            "model": "m",
            "messages": [{"role": "user", "content": QUESTION}],
        }
        if wire == "anthropic":
            self.body["max_tokens"] = 64
        self.stream_body = self.body | {"stream": True}

    def text_of(self, answer: Any) -> str:
        if self.wire == "openai":
            text: str = answer["choices"][0]["message"]["content"]
        else:
            text = answer["content"][0]["text"]
        return text

    def text_in(self, event: Any) -> str:
        if self.wire == "openai":
            choices = event["choices"]
            return (choices[0]["delta"].get("content") if choices else "") or ""
        return event["delta"].get("text", "") if event["type"] == "content_block_delta" else ""


_ANTHROPIC_HEADERS = {"x-api-key": "x", "anthropic-version": "2023-06-01"}


class Httpx2(_Bare):
    distributions: ClassVar[tuple[str, ...]] = ("httpx2",)

    def __init__(self, root: str, wire: str) -> None:
        super().__init__(root, wire)
        import httpx2

        unlimited = httpx2.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=600.0
        )
        self.client = httpx2.Client(limits=unlimited, timeout=600.0)
        self.async_client = httpx2.AsyncClient(limits=unlimited, timeout=600.0)

    async def acall(self) -> str:
        response = await self.async_client.post(self.url, json=self.body, headers=self.headers)
        return self.text_of(json.loads(response.content))

    def call(self) -> str:
        response = self.client.post(self.url, json=self.body, headers=self.headers)
        return self.text_of(json.loads(response.content))

    async def read_astream(self, take: Take) -> None:
        client = self.async_client
        async with client.stream(
            "POST", self.url, json=self.stream_body, headers=self.headers
        ) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    take(self.text_in(json.loads(line[6:])))

    def read_stream(self, take: Take) -> None:
        with self.client.stream(
            "POST", self.url, json=self.stream_body, headers=self.headers
        ) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    take(self.text_in(json.loads(line[6:])))


class Aiohttp(_Bare):
    distributions: ClassVar[tuple[str, ...]] = ("aiohttp",)
    _session: Any = None

    def session(self) -> Any:
        if self._session is None:  # it belongs to the running loop
            import aiohttp

            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=600.0)
            timeout = aiohttp.ClientTimeout(total=None, sock_read=600.0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    async def acall(self) -> str:
        async with self.session().post(self.url, json=self.body, headers=self.headers) as response:
            return self.text_of(json.loads(await response.read()))

    async def read_astream(self, take: Take) -> None:
        async with self.session().post(
            self.url, json=self.stream_body, headers=self.headers
        ) as response:
            async for line in response.content:
                if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                    take(self.text_in(json.loads(line[6:])))


class Sdk(Contender):
    """The provider's own SDK."""

    distributions: ClassVar[tuple[str, ...]] = ("openai", "anthropic")

    def __init__(self, root: str, wire: str) -> None:
        super().__init__(root, wire)
        question: Any = [{"role": "user", "content": QUESTION}]
        if wire == "openai":
            base: dict[str, Any] = {"base_url": f"{root}/v1", "api_key": "x", "max_retries": 0}
            sync_create: Any = imported("openai", "OpenAI")(**base).chat.completions.create
            async_create: Any = imported("openai", "AsyncOpenAI")(**base).chat.completions.create
            arguments: dict[str, Any] = {"model": "m", "messages": question}
        else:
            base = {"base_url": root, "api_key": "x", "max_retries": 0}
            sync_create = imported("anthropic", "Anthropic")(**base).messages.create
            async_create = imported("anthropic", "AsyncAnthropic")(**base).messages.create
            arguments = {"model": "m", "messages": question, "max_tokens": 64}
        self._ask: Callable[..., Any] = lambda **more: sync_create(**arguments, **more)
        self._async_ask: Callable[..., Any] = lambda **more: async_create(**arguments, **more)

    async def acall(self) -> str:
        return self._text_of(await self._async_ask())

    def call(self) -> str:
        return self._text_of(self._ask())

    async def read_astream(self, take: Take) -> None:
        async for event in await self._async_ask(stream=True):
            take(self._text_in(event))

    def read_stream(self, take: Take) -> None:
        for event in self._ask(stream=True):
            take(self._text_in(event))

    def _text_of(self, answer: Any) -> str:
        text: str = (
            answer.choices[0].message.content if self.wire == "openai" else answer.content[0].text
        )
        return text

    def _text_in(self, event: Any) -> str:
        if self.wire == "openai":
            return (event.choices[0].delta.content if event.choices else "") or ""
        return getattr(event.delta, "text", "") if event.type == "content_block_delta" else ""


class _ChatModels(Contender):
    """What the two libraries with LangChain's interface share: all of it but the names of their modules."""

    openai_module: str
    anthropic_module: str
    prompts_module: str
    parsers_module: str
    runnables_module: str
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, root: str, wire: str) -> None:
        super().__init__(root, wire)
        if wire == "openai":
            named: dict[str, Any] = {"base_url": f"{root}/v1"}
            made = imported(self.openai_module, "ChatOpenAI")
        else:
            named = {"base_url": root, "max_tokens": 64}
            made = imported(self.anthropic_module, "ChatAnthropic")
        self.model = made(model="m", api_key="x", max_retries=0, **named, **self.settings)
        self._chain: Any = None

    async def acall(self) -> str:
        text: str = (await self.model.ainvoke(QUESTION)).content
        return text

    def call(self) -> str:
        text: str = self.model.invoke(QUESTION).content
        return text

    async def read_astream(self, take: Take) -> None:
        async for chunk in self.model.astream(QUESTION):
            take(chunk.content)

    def read_stream(self, take: Take) -> None:
        for chunk in self.model.stream(QUESTION):
            take(chunk.content)

    async def acall_chain(self) -> str:
        text: str = await self.chain.ainvoke({"question": QUESTION})
        return text

    async def read_chain(self, take: Take) -> None:
        async for text in self.chain.astream({"question": QUESTION}):
            take(text)

    @property
    def chain(self) -> Any:
        if self._chain is None:
            prompt = imported(self.prompts_module, "ChatPromptTemplate").from_messages(
                [("human", "{question}")]
            )
            self._chain = prompt | self.model | imported(self.parsers_module, "StrOutputParser")()
        return self._chain

    async def read_events(self, take: Take) -> None:
        if not hasattr(self.model, "astream_events"):
            raise NotInstalled("no `astream_events` yet")
        async for event in self.model.astream_events(QUESTION, version="v2"):
            if event["event"] == "on_chat_model_stream":
                take(event["data"]["chunk"].content)

    @classmethod
    def runnable_lambda(cls, function: Callable[..., Any]) -> Any:
        return imported(cls.runnables_module, "RunnableLambda")(function)


class Modelwire(_ChatModels):
    distributions: ClassVar[tuple[str, ...]] = ("modelwire",)
    openai_module = anthropic_module = "modelwire.adapters"
    prompts_module = parsers_module = "modelwire"
    runnables_module = "modelwire.runnables"

    @classmethod
    def versions(cls) -> str:
        imported("modelwire.adapters", "ChatOpenAI")
        try:
            return super().versions()
        except NotInstalled:
            return "modelwire (checkout)"


class ModelwireAiohttp(Modelwire):
    """Ours on its other engine."""

    distributions: ClassVar[tuple[str, ...]] = ("modelwire", "aiohttp")
    settings: ClassVar[dict[str, Any]] = {"engine": "aiohttp"}

    @classmethod
    def versions(cls) -> str:
        if "engine" not in getattr(
            imported("modelwire.adapters", "ChatOpenAI"), "model_fields", ()
        ):
            raise NotInstalled("`ChatOpenAI` has no `engine` yet")
        return f"{super().versions()}, aiohttp {importlib.metadata.version('aiohttp')}"


class LangChain(_ChatModels):
    distributions: ClassVar[tuple[str, ...]] = (
        "langchain-core",
        "langchain-openai",
        "langchain-anthropic",
    )
    openai_module = "langchain_openai"
    anthropic_module = "langchain_anthropic"
    prompts_module = "langchain_core.prompts"
    parsers_module = "langchain_core.output_parsers"
    runnables_module = "langchain_core.runnables"


def imported(module: str, name: str) -> Any:
    """Import a name; raise `NotInstalled` where it is missing."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as missing:
        raise NotInstalled(f"{module}.{name}: {missing}") from missing


CONTENDERS: dict[str, type[Contender]] = {
    "httpx2": Httpx2,
    "aiohttp": Aiohttp,
    "modelwire": Modelwire,
    "modelwire+aiohttp": ModelwireAiohttp,
    "SDK": Sdk,
    "langchain": LangChain,
}
