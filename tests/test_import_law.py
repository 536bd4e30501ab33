"""Who may import whom, what `import modelwire` may load, and what no module may ever call."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.parsed import MODULES, PACKAGE, nodes, parsed

# For each part of the package: what of ours it may import at module level, and what in its functions besides.
# The longest name that fits a module is the one that holds for it. `FREE` ones are free to all; nobody imports
# `jobs`, `testing` or `cli`.
LAW: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "aliases": (set(), set()),
    "context_items": (set(), set()),
    "lazy": (set(), set()),
    "records": (set(), set()),
    "forks": (set(), set()),
    # How an object of LangChain's is seen; what shall become of it is asked of `langchain`, which is loaded only then.
    "langchain_bridge": (set(), set()),
    # The seam: its names load when first used, so it imports nothing itself.
    "ext": (set(), set()),
    # The table of what stands on the core: nothing else of the core names an extension.
    "_extensions": ({"errors"}, set()),
    "user_paths": (set(), set()),
    # Whether state is shared with other processes; the code that shares it is an extension.
    "sharing": ({"errors", "user_paths"}, set()),
    "fleet": ({"budgets", "caches", "config", "errors", "ext", "sharing"}, set()),
    "sqlite_files": (set(), set()),
    "prompt_caches": (set(), {"adapters.model.prompt_prefixes"}),
    # A price is listed under the name that the row of a provider has for it.
    "usage": ({"errors", "callbacks", "prompt_caches"}, {"messages", "adapters.providers"}),
    "terminal_text": (set(), set()),
    "notebooks": (set(), set()),
    "messages": ({"errors"}, {"prompts", "runnables", "tools"}),
    # The one door from messages to the wires: readers of their blocks, and the OpenAI converters.
    "messages.block_readers": ({"errors"}, {"adapters.wires", "adapters.providers"}),
    "transport": ({"errors"}, set()),
    # The line about a call has its price.
    "transport.ratelimit.registry": ({"errors", "transport", "sharing"}, set()),
    "transport.logs": ({"errors", "transport"}, {"usage.prices"}),
    "callbacks": ({"errors", "user_paths", "messages", "outputs"}, {"runnables"}),
    "runnables": (
        {"errors", "messages", "callbacks", "transport.observer"},
        {"outputs", "prompts", "tools", "tracers"},
    ),
    # Keywords of a call may be headers that a traceback must not show.
    "runnables.config": ({"errors", "callbacks", "runnables"}, {"transport.wire"}),
    "tracers": ({"errors", "callbacks", "runnables"}, set()),
    "prompts": ({"errors", "messages", "runnables", "prompt_values"}, set()),
    "outputs": ({"errors", "messages"}, set()),
    "prompt_values": ({"errors", "messages"}, {"prompts"}),
    "output_parsers": ({"errors", "messages", "runnables", "outputs", "prompt_values"}, set()),
    "utils": (
        {"errors", "messages", "runnables", "output_parsers", "prompts", "tools"},
        set(),
    ),  # names only
    # The journal of the tool loop is a SQLite file.
    "tools": ({"errors", "messages", "runnables", "callbacks", "sqlite_files"}, set()),
    # Tokens of servers are in the user's folder.
    "tools.mcp": (
        {"errors", "messages", "runnables", "callbacks", "tools", "user_paths"},
        set(),
    ),
    # The attempts of a pool's call are one call of a budget.
    "budgets": (
        {
            "errors",
            "sharing",
            "sqlite_files",
            "user_paths",
            "transport.observer",
            "transport.ratelimit.admission",
        },
        {"config", "usage.prices", "messages"},
    ),
    "rate_limiters": ({"errors"}, set()),
    "caches": ({"errors", "messages", "sharing", "sqlite_files"}, {"outputs"}),
    "globals": ({"adapters"}, set()),
    "profiles": ({"errors"}, {"adapters", "usage.prices"}),
    "exceptions": ({"errors"}, set()),
    "chat_history": ({"messages"}, set()),
    "language_models": ({"errors", "messages", "outputs", "runnables", "adapters"}, set()),
    "documents": ({"errors", "messages"}, set()),
    "agents": ({"messages"}, set()),
    "embeddings": ({"runnables"}, {"adapters"}),
    "vectorstores": ({"errors", "documents", "retrievers"}, set()),
    "load": ({"errors", "messages.serialised"}, {"adapters.providers"}),
    "compat": ({"adapters"}, set()),
    "migrate": ({"compat", "embeddings", "errors", "ext"}, set()),
    # One chat model of several: its calls are calls of the models below it.
    "pools": (
        {
            "adapters",
            "callbacks",
            "config",
            "errors",
            "messages",
            "outputs",
            "runnables",
            "transport",
        },
        set(),
    ),
    "retrievers": ({"errors", "documents", "runnables", "callbacks"}, set()),
    "config": ({"config_trust", "errors", "user_paths"}, {"adapters", "local", "pools"}),
    "config_trust": ({"errors", "user_paths"}, {"adapters", "config"}),
    "local": ({"errors", "user_paths"}, set()),
    # Where a Runnable, a codec and the transport meet.
    "adapters": (
        {
            "errors",
            "messages",
            "prompt_values",
            "outputs",
            "runnables",
            "callbacks",
            "transport",
            "caches",
            "prompt_caches",
        },
        {"config", "local", "tools", "output_parsers", "profiles", "rate_limiters", "prompts"},
    ),
    # Texts to vectors, over the calls of the chat models.
    "adapters.embeddings": (
        {"adapters", "embeddings", "errors", "messages", "outputs", "transport"},
        {"caches"},
    ),
    # Loaded by the first call with tools or a form of its answer.
    "adapters.model.tools": ({"adapters", "errors", "runnables", "tools"}, set()),
    "adapters.model.structured_output": (
        {"adapters", "errors", "runnables", "tools", "output_parsers"},
        set(),
    ),
    # Pure: what is said, in the words of one API.
    "adapters.wires": (
        {"messages", "errors", "transport.wire", "transport.classify", "transport.sse"},
        {"tools"},
    ),
    "testing": (
        {
            "errors",
            "user_paths",
            "messages",
            "outputs",
            "runnables",
            "callbacks",
            "adapters",
            "embeddings",
            "ext",
            "transport",
            "language_models",
        },
        set(),
    ),
    "otel": ({"errors", "callbacks", "ext"}, set()),
    "jobs": (
        {
            "adapters",
            "errors",
            "embeddings",
            "messages",
            "prompts",
            "runnables",
            "callbacks",
            "ext",
            "globals",
            "budgets",
            "sharing",
            "sqlite_files",
            "usage",
        },
        {"config", "transport"},
    ),
    # The border to LangChain: everything of ours becomes something of LangChain's. Only `langchain_bridge` names it.
    "langchain": (
        {
            "errors",
            "messages",
            "runnables",
            "callbacks",
            "adapters",
            "embeddings",
            "tools",
            "chat_history",
            "load",
            "config",
            "ext",
        },
        set(),
    ),
    # The names of `messages`, `tools` and `usage` load when they are first used.
    "command": (
        {
            "config",
            "config_trust",
            "embeddings",
            "errors",
            "ext",
            "jobs",
            "local",
            "messages",
            "sqlite_files",
            "tools",
            "usage",
            "user_paths",
        },
        {"adapters", "compare", "profiles"},
    ),
    # Loaded by a command of `modelwire mcp`.
    "command.mcp_servers": ({"errors", "callbacks", "command", "tools"}, set()),
    "command.mcp_questions": ({"errors", "command", "tools"}, set()),
    # Loaded by the first job that goes through a Batch API.
    "command.batch_api": ({"errors", "command", "jobs", "usage"}, set()),
    "compare": (
        {
            "adapters",
            "config",
            "errors",
            "ext",
            "user_paths",
            "usage",
            "messages",
            "runnables",
            "testing.cassettes",
            "tools",
            "transport",
        },
        set(),
    ),
    "__main__": ({"cli"}, set()),
    "cli": (
        {"command", "errors", "local"},
        {"compare", "config", "adapters", "jobs", "migrate", "testing"},
    ),
}
FREE = (
    "aliases",
    "context_items",
    "forks",
    "lazy",
    "records",
    "_extensions",
    "langchain_bridge",
    "terminal_text",
)
HEAVY = {
    "httpx2",
    "httpx",
    "openai",
    "anthropic",
    "tenacity",
    "aiohttp",
    "rich",
    "pydantic",
    "asyncio",
    "jinja2",
}
NEVER_AT_MODULE_LEVEL = {
    "asyncio",
    "concurrent",
    "anyio",
    "httpx2",
    "httpx",
    "openai",
    "anthropic",
    "tenacity",
    "jinja2",
    "aiohttp",
    "rich",
    "docstring_parser",
    "grandalf",
    "email",
    "http",
    "urllib.request",
    "importlib.metadata",
    "xllamacpp",
    "subprocess",
    "multiprocessing",
}


def _name(path: Path) -> str:
    """Return `adapters.openai.codec` for `modelwire/adapters/openai/codec.py`, and `` for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_lazy_module(call: ast.expr) -> bool:
    named = (
        isinstance(call, ast.Attribute)
        and call.attr == "module"
        and isinstance(call.value, ast.Name)
    )
    return named and call.value.id == "lazy"


def _imports(node: ast.AST, path: Path, *, inside: bool = False) -> Iterator[tuple[str, bool, int]]:
    """Yield every module imported below `node`, whether inside a function, and the line; not under `TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []), path, inside=inside)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name, inside, child.lineno
        elif isinstance(child, ast.ImportFrom):
            for module in _from(child, path):
                yield module, inside, child.lineno
        elif isinstance(child, ast.Call) and _is_lazy_module(child.func):
            yield ast.literal_eval(child.args[0]), True, child.lineno
        else:
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(child, path, inside=inside or function)


def _from(node: ast.ImportFrom, path: Path) -> list[str]:
    base = node.module or ""
    if node.level:
        package = ["modelwire", *path.relative_to(PACKAGE).parts[:-1]]
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    if base == "modelwire" or base.startswith("modelwire."):
        # `from modelwire.adapters import codec` means the module `modelwire.adapters.wires.wire`, if there is one.
        folder = PACKAGE.joinpath(*base.split(".")[1:])
        return [
            f"{base}.{alias.name}"
            if (folder / f"{alias.name}.py").is_file() or (folder / alias.name).is_dir()
            else base
            for alias in node.names
        ]
    return [base]


def _within(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def _allowed(module: str) -> tuple[set[str], set[str]]:
    part = max((part for part in LAW if _within(module, part)), key=len, default=None)
    assert part is not None, (
        f"`modelwire/{module.replace('.', '/')}` has no line in the law: say what it may import"
    )
    return LAW[part]


@cache
def _imported(path: Path) -> tuple[tuple[str, bool, int], ...]:
    return tuple(_imports(parsed(path), path))


def _broken(imports: Iterable[tuple[str, bool, int]], path: Path) -> list[str]:
    """Return which of these imports, made in the module at `path`, break the law."""
    module = _name(path)
    if module == "":
        top, lazy = {"errors", *FREE}, set()
    else:
        top, lazy = _allowed(module)
    found = []
    for target, inside, line in imports:
        if not _within(target, "modelwire"):
            continue
        ours = target.removeprefix("modelwire").lstrip(".")
        same_part = _within(
            ours, max((part for part in LAW if _within(module, part)), key=len, default="?")
        )
        may = top | lazy if inside else top
        if not (ours in ("", *FREE) or same_part or any(_within(ours, part) for part in may)):
            found.append(f"{path.relative_to(PACKAGE)}:{line} imports modelwire.{ours}")
    return found


def test_a_module_imports_only_what_the_law_allows() -> None:
    assert [breach for path in MODULES for breach in _broken(_imported(path), path)] == []


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("messages/ai.py", "from modelwire.runnables import Runnable"),
        ("messages/ai.py", "import modelwire.transport.wire"),
        ("errors.py", "from modelwire import messages"),
        ("transport/call.py", "from modelwire.messages import AIMessage"),
        ("transport/call.py", "def f():\n    from ..adapters import base"),
        ("adapters/wires/openai_chat/encode.py", "from modelwire.runnables import Runnable"),
        ("adapters/wires/openai_chat/encode.py", "from modelwire.transport import pools"),
        (
            "adapters/wires/openai_chat/encode.py",
            "from modelwire.adapters.model.http import BaseChatModel",
        ),
        ("adapters/wires/anthropic/decode.py", "from modelwire.adapters.model import http"),
        ("runnables/base.py", "from modelwire.transport.wire import Reply"),
        ("adapters/model/http.py", "from modelwire.testing import FakeChatModel"),
        ("runnables/base.py", "def f():\n    import modelwire.cli"),
        ("runnables/base.py", 'cli = lazy.module("modelwire.cli")'),
    ],
)
def test_the_law_catches_a_breach(where: str, line: str) -> None:
    path = PACKAGE / where
    assert _broken(_imports(ast.parse(line), path), path) != []


def test_heavy_libraries_load_inside_functions_or_in_modules_that_do() -> None:
    """A module may have one at its top when it is itself imported in functions only, like `runnables.threads`."""
    top_level: dict[str, set[str]] = {
        _name(path): {module for module, inside, _ in _imported(path) if not inside}
        for path in MODULES
    }
    heavy = {
        f"modelwire.{name}": sorted(found)
        for name, modules in top_level.items()
        if (
            found := {
                module
                for module in modules
                if any(_within(module, bad) for bad in NEVER_AT_MODULE_LEVEL)
            }
        )
    }
    assert {
        name: heavy[late] for name, modules in top_level.items() for late in modules & heavy.keys()
    } == {}


def _reads_code(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return (node.func.value.id, node.func.attr) in {("yaml", "load"), ("yaml", "unsafe_load")}
    return isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "__import__")


def test_nothing_is_ever_unpickled_or_evaluated() -> None:
    unpicklers = ("pickle", "marshal", "shelve", "dill")
    found = []
    for path in MODULES:
        name = path.relative_to(PACKAGE)
        found += [
            f"{name}:{line} imports {module}"
            for module, _, line in _imported(path)
            if any(_within(module, bad) for bad in unpicklers)
        ]
        found += [
            f"{name}:{node.lineno} {ast.unparse(node)}" for node in nodes(path) if _reads_code(node)
        ]
    assert found == []


# ---------------------------------------------------------------- what an import loads


def _loaded_by(code: str) -> set[str]:
    """Return the names of the modules a fresh interpreter has after `code`, less those it had before."""
    # Some environments load libraries at start, by a .pth file: those are not ours.
    start = "import sys; before = set(sys.modules)"
    end = "import json; print(json.dumps(sorted(loaded - before)))"
    program = f"{start}\n{code}\nloaded = set(sys.modules)\n{end}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def _roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_importing_modelwire_loads_nothing_heavy_and_almost_nothing_of_ours() -> None:
    loaded = _loaded_by("import modelwire")
    assert _roots(loaded) & HEAVY == set()
    assert {module for module in loaded if _within(module, "modelwire")} == {
        "modelwire",
        "modelwire.lazy",
    }
    assert len(loaded) <= 40, sorted(loaded)


def test_the_command_loads_nothing_heavy_before_it_knows_what_to_do() -> None:
    loaded = _roots(_loaded_by("from modelwire import cli\ncli._parser()"))
    assert loaded & HEAVY == set()


def test_no_part_loads_http_or_a_provider() -> None:
    parts = sorted({_name(path).partition(".")[0] for path in MODULES} - {"", "lazy"})
    loaded = _roots(_loaded_by("\n".join(f"import modelwire.{part}" for part in parts)))
    assert (
        loaded
        & {
            "httpx2",
            "httpx",
            "openai",
            "anthropic",
            "tenacity",
            "aiohttp",
            "rich",
            "jinja2",
            "xllamacpp",
        }
        == set()
    )


def test_importing_and_making_a_chat_model_loads_no_sdk() -> None:
    code = """
from modelwire import *
from modelwire.adapters import ChatAnthropic, ChatOpenAI
ChatOpenAI(model="m", api_key="k")
ChatAnthropic(model="m", api_key="k")
"""
    assert (
        _roots(_loaded_by(code)) & {"openai", "anthropic", "tenacity", "aiohttp", "rich", "jinja2"}
        == set()
    )


def test_a_first_call_loads_nothing_of_what_only_some_answers_need() -> None:
    loaded = _loaded_by("""
import httpx2
from modelwire.adapters import ChatOpenAI
answer = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
client = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer)))
model = ChatOpenAI(model="m", api_key="k", http_client=client)
assert model.invoke("hi").content == "hi"
""")
    only_some = {
        "modelwire.adapters.model.background",
        "modelwire.adapters.model.cache",
        "modelwire.adapters.model.continuation",
        "modelwire.adapters.model.handlers",
        "modelwire.outputs",
        "modelwire.tools",
        "pydantic.functional_serializers",
    }
    assert loaded & only_some == set()


def test_every_public_name_resolves() -> None:
    import modelwire

    for name in modelwire.__all__:
        assert getattr(modelwire, name) is not None
        assert name in dir(modelwire)


def test_nothing_awaits_anext_with_a_default() -> None:
    """CPython 3.11 and 3.13 crash where such an await meets the recursion limit: use `except StopAsyncIteration`."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in MODULES
        if "anext(" in path.read_text("utf-8")  # most need not be parsed for it
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "anext"
        and len(node.args) + len(node.keywords) != 1
    ]
    assert found == []


def test_no_module_changes_a_setting_of_the_interpreter() -> None:
    """The garbage collector, the recursion limit and the switch interval belong to the program that imports us."""
    settings = {"setrecursionlimit", "setswitchinterval"}
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.strip().startswith(("import gc", "from gc import"))
        or any(f"sys.{name}(" in line for name in settings)
    ]
    assert found == []


def test_no_circle_of_imports_is_large() -> None:
    """Imports in functions and lazy modules count."""
    names = {f"modelwire.{_name(path)}": path for path in MODULES if _name(path) != ""}
    edges = {
        name: {one for one, _, _ in _imported(path) if one in names and not _within(name, one)}
        for name, path in names.items()
    }
    below: dict[str, set[str]] = {}
    for name in names:
        reached, waiting = set[str](), [name]
        while waiting:
            new = edges[waiting.pop()] - reached
            reached |= new
            waiting += new
        below[name] = reached
    circles = {frozenset(other for other in below[name] if name in below[other]) for name in names}
    assert [sorted(circle) for circle in circles if len(circle) > 3] == []
