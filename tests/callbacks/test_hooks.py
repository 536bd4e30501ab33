from __future__ import annotations

import subprocess
import sys
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from modelwire.callbacks import (
    BaseCallbackHandler,
    CallbackManager,
    hooks,
    listening,
    register_configure_hook,
)
from modelwire.callbacks.hooks import listening_to_models
from modelwire.errors import InvalidArgument

held: ContextVar[Any] = ContextVar("held", default=None)


class Made(BaseCallbackHandler):
    pass


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_hooks", ())


@pytest.mark.parametrize("config", [None, {}, {"callbacks": None}, {"callbacks": []}])
def test_nobody_listens_by_default(config: Any) -> None:
    assert listening(config) is False


class Deaf(BaseCallbackHandler):
    ignore_chat_model = ignore_llm = ignore_retry = True  # type: ignore[assignment]


class ToRetries(Deaf):
    ignore_retry = False  # type: ignore[assignment]


@pytest.mark.parametrize("put", [lambda one: [one], lambda one: CallbackManager([one])])
def test_a_handler_that_ignores_models_does_not_listen_to_them(put: Any) -> None:
    assert not listening_to_models({})
    for handler, wants in ((Made(), True), (Deaf(), False), (ToRetries(), True)):
        assert listening({"callbacks": put(handler)})
        assert listening_to_models({"callbacks": put(handler)}) is wants


def test_a_hook_listens_to_models_if_its_handler_does() -> None:
    register_configure_hook(held, inheritable=True)
    for value, wants in ((Made(), True), (Deaf(), False), ((Deaf(), Made()), True), (None, False)):
        token = held.set(value)
        assert listening_to_models({}) is wants
        held.reset(token)


def test_a_handler_listens_in_a_list_or_a_manager() -> None:
    assert listening({"callbacks": [Made()]})
    assert listening({"callbacks": CallbackManager([Made()])})
    assert not listening({"callbacks": CallbackManager([])})


@pytest.mark.parametrize("inheritable", [True, False])
def test_a_hooked_handler_hears_what_starts_where_it_is_set(inheritable: bool) -> None:
    register_configure_hook(held, inheritable)
    handler = Made()

    def inside() -> CallbackManager:
        held.set(handler)
        assert listening(None)
        return CallbackManager.configure()

    manager = copy_context().run(inside)
    assert manager.handlers == [handler]
    assert manager.inheritable_handlers == ([handler] if inheritable else [])
    assert not listening(None)
    assert CallbackManager.configure().handlers == []


@pytest.mark.parametrize(
    ("value", "asked"), [("1", True), ("true", True), ("0", False), ("false", False), ("", False)]
)
def test_the_environment_asks_for_a_handler(
    monkeypatch: pytest.MonkeyPatch, value: str, asked: bool
) -> None:
    register_configure_hook(held, True, Made, "MODELWIRE_TEST_HOOK")
    assert not listening({})
    monkeypatch.setenv("MODELWIRE_TEST_HOOK", value)
    assert listening({}) is asked
    assert [type(handler) for handler in CallbackManager.configure().handlers] == [Made] * asked


def test_a_chain_nobody_listens_to_loads_no_manager() -> None:
    script = (
        "import sys\n"
        "from modelwire.output_parsers import StrOutputParser\n"
        "from modelwire.prompts import PromptTemplate\n"
        "PromptTemplate.from_template('{a}').invoke('x')\n"
        "StrOutputParser().invoke('x')\n"
        "loaded = [name for name in sys.modules if name.startswith(('modelwire.callbacks.', 'modelwire.outputs'))]\n"
        "print(loaded)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['modelwire.callbacks.hooks']"


def test_the_same_hook_twice_is_one_hook() -> None:
    register_configure_hook(held, True)
    register_configure_hook(held, True)
    assert len(hooks._hooks) == 1


def test_a_variable_without_a_class_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="handle_class"):
        register_configure_hook(held, True, None, "NAME")
