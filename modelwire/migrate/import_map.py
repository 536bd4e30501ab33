"""Maps a name of LangChain to its place in modelwire, or to the reason why it has no equivalent.

LangChain itself is never imported.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module
from types import ModuleType

from modelwire import embeddings
from modelwire.compat import homes_of
from modelwire.ext import langchain_packages, model_classes, service_names

# LangChain's packages with modules of modelwire. The packages of providers are in the rows of the providers.
_ROOTS = dict.fromkeys(
    ("langchain", "langchain_classic", "langchain_core", "langchain_community"), "modelwire"
)
_ADAPTERS = "modelwire.adapters"
# The equivalents of these names have another name or another place in modelwire.
_HISTORY = "modelwire.chat_history.InMemoryChatMessageHistory"
_RENAMED = {
    "langchain_community.chat_message_histories.ChatMessageHistory": _HISTORY,
    "langchain_community.chat_message_histories.in_memory.ChatMessageHistory": _HISTORY,
    "langchain.memory.ChatMessageHistory": _HISTORY,
    "langchain_openai.chat_models.base.BaseChatOpenAI": "modelwire.adapters.ChatOpenAI",
    "langchain_aws.ChatBedrock": "modelwire.adapters.ChatBedrockConverse",
    "langchain_aws.chat_models.ChatBedrock": "modelwire.adapters.ChatBedrockConverse",
    "langchain_core.load.load.load": "modelwire.load.load",
    "langchain_core.load.load.loads": "modelwire.load.loads",
    "langchain_core.load.dump.dumpd": "modelwire.load.dumpd",
    "langchain_core.load.dump.dumps": "modelwire.load.dumps",
    "langchain_redis.RedisCache": "modelwire.caches.RedisCache",
    "langchain_redis.cache.RedisCache": "modelwire.caches.RedisCache",
}
# A class that is not at the same path is searched in these modules, because LangChain has moved classes over the years.
_SEARCHED = (
    "messages",
    "prompts",
    "output_parsers",
    "runnables",
    "tools",
    "callbacks",
    "adapters",
    "language_models",
    "caches",
    "documents",
    "retrievers",
    "outputs",
    "prompt_values",
    "chat_history",
    "tracers",
    "agents",
    "rate_limiters",
    "vectorstores",
    "embeddings",
    "globals",
    "output_parsers.openai_functions",
    "runnables.history",
    "exceptions",
    "utils",
    "utils.function_calling",
    "config",
)

# The reasons why names have no equivalent, and what to do. The first row is used whose pattern matches
# "module.name".
_STORES = (
    r"VectorStore|\.vectorstores\b|FAISS|Chroma"
    r"|langchain_(chroma|pinecone|qdrant|milvus|postgres|weaviate|redis)\b"
)
_SERVICES = rf"^langchain_({'|'.join(map(re.escape, service_names()))})\b|^langchain_nvidia"
_LANGGRAPH = r"^langgraph\b"
_AGENTS = r"agent|Agent|middleware"
_REASONS = (
    (
        r"Embeddings?\b|\.embeddings\b",
        "no embeddings of this name: `modelwire.init_embeddings` makes those of the providers, and a subclass of "
        "`modelwire.embeddings.Embeddings` your own",
    ),
    (
        _STORES,
        "a vector store: write a `modelwire.vectorstores.VectorStore` or a retriever around its client",
    ),
    (
        r"document_loaders|text_splitter|document_transformers|Loader\b",
        "loading and splitting documents is not here",
    ),
    (
        _LANGGRAPH,
        "LangGraph runs on the classes of `langchain_core`: this file keeps its imports",
    ),
    (
        r"^langsmith\b|LangChainTracer|tracing",
        "no tracing service is here: callbacks report the same",
    ),
    (
        r"^langchain_(google_community|cohere|huggingface|ibm)\b",
        "no adapter for this provider is here",
    ),
    (
        _SERVICES,
        'this service has OpenAI\'s API: `init_chat_model("NAME:MODEL")`, see docs/providers.md',
    ),
    (
        r"^langchain(_classic)?\.hub|\bhub\b",
        "the hub is a web service: keep the prompt in the program",
    ),
    (
        r"\.memory\b|Memory\b",
        "memory classes are not here: `modelwire.runnables.history.RunnableWithMessageHistory`",
    ),
    (r"\.chains?\b|Chain\b", "chain classes are not here: write `prompt | model | parser`"),
    (
        _AGENTS,
        "LangChain's agents take LangChain's models: this file keeps its imports. `modelwire.run_tools` is such a "
        "loop, or pass the agent `modelwire.langchain.as_langchain(model)`",
    ),
    (
        r"\.llms\b|\.(OpenAI|AzureOpenAI|AnthropicLLM|LLM|BaseLLM)$",
        "a text-completion model: use the chat model",
    ),
    (r"pydantic_v1", "pydantic 1 is not here: import from `pydantic`"),
    (r"\.indexes?\b|\.indexing\b|\.storage\b|\.stores\b", "stores and indexing are not here"),
    (r"^langchain_\w+", "nothing of this package is here"),
)
_PLAIN = "it is not here; docs/langchain.md lists what is"


def is_theirs(module: str) -> bool:
    """Return whether a module is LangChain's or builds on it."""
    return re.match(r"(langchain\w*|langgraph\w*|langsmith)(\.|$)", module) is not None


def root_module(package: str) -> str | None:
    """Return modelwire's module for one of LangChain's packages, or None."""
    if package in langchain_packages():
        return _ADAPTERS
    return _ROOTS.get(package)


def module_home(module: str) -> str | None:
    """Return modelwire's module for one of LangChain's, or None."""
    root, _, rest = module.partition(".")
    home = root_module(root)
    if home is None:
        return None
    if not rest and root in ("langchain", "langchain_classic", "langchain_community"):
        return None
    if root != "langchain_core" and rest == "agents":
        return None  # This module makes agents, and `modelwire.agents` only has their types.
    path = _joined(home, rest)
    return path if _module(path) is not None else None


def _joined(path: str, name: str) -> str:
    if name:
        return f"{path}.{name}"
    return path


def home_of(module: str, name: str) -> tuple[str, str] | None:
    """Return module and name in modelwire for `from module import name`; None if there is no equivalent."""
    renamed = _RENAMED.get(f"{module}.{name}")
    if renamed is not None:
        home, _, new = renamed.rpartition(".")
        return home, new
    root, _, rest = module.partition(".")
    if root.startswith("langchain") and name in embeddings.__all__:
        return "modelwire.embeddings", name
    package = root_module(root)
    if package is None:
        return None
    path = _joined(package, rest)
    if _has(path, name):
        return _own_home(path, name), name
    if package == _ADAPTERS:
        place = model_classes().get(name)
        return None if place is None else (place, name)
    for place in _SEARCHED:
        if name[0].isupper() and _exports(f"modelwire.{place}", name):
            return _own_home(f"modelwire.{place}", name), name
    if name == "tool" and rest.startswith("agents"):
        return "modelwire.tools", name
    return None


def keeps_its_file(module: str, name: str = "") -> bool:
    """Return whether a program that imports this keeps all of its imports, because LangGraph or an agent needs them."""
    path = _joined(module, name)
    why = reason(module, name)
    patterns = (_LANGGRAPH, _AGENTS)
    return any(re.search(one, path) and why == dict(_REASONS)[one] for one in patterns)


def reason(module: str, name: str = "") -> str:
    """Return a text that says why a name has no equivalent in modelwire, and what the user can do."""
    path = _joined(module, name)
    for pattern, why in _REASONS:
        if re.search(pattern, path):
            return why
    return _PLAIN


@lru_cache(maxsize=1024)
def _module(path: str) -> ModuleType | None:
    try:
        return import_module(path)
    except ModuleNotFoundError:
        return None


def _has(path: str, name: str) -> bool:
    module = _module(path)
    if module is None:
        return False
    found = getattr(module, name, None)
    if isinstance(found, ModuleType):
        return found.__name__.startswith("modelwire.")
    if hasattr(module, name):
        return True
    return name.islower() and _module(f"{path}.{name}") is not None


def _exports(path: str, name: str) -> bool:
    """Return whether a module exports a name: it is in `__all__`, or the module has no `__all__`."""
    module = _module(path)
    return _has(path, name) and name in getattr(module, "__all__", [name])


def _own_home(path: str, name: str) -> str:
    """Return the module that really has a name if `path` is only kept for LangChain's imports; else return `path`."""
    for home, names in (homes_of(path) or {}).items():
        if name in names.split():
            return home
    return path
