"""`help(ChatOpenAI)` and an editor show every setting: its name, type, default and meaning."""

import inspect
import subprocess
import sys

import pytest

from modelwire.adapters import AzureChatOpenAI, ChatAnthropic, ChatOpenAI
from modelwire.adapters.model.documentation import settings_docs
from modelwire.errors import InvalidType

CLASSES = [ChatOpenAI, ChatAnthropic, AzureChatOpenAI]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_is_documented_where_it_stands(cls: type[ChatOpenAI]) -> None:
    assert set(cls.model_fields) == set(settings_docs(cls))
    assert all(meaning.endswith((".", ")")) for meaning in settings_docs(cls).values())


@pytest.mark.parametrize("cls", CLASSES)
def test_the_help_has_a_line_for_each_setting(cls: type[ChatOpenAI]) -> None:
    text = inspect.getdoc(cls)
    assert text is not None
    assert text.startswith("Chat with")
    assert "max_retries (int, default 4): Maximum number of retries of one call" in text
    assert all(f"    {name} (" in text for name in cls.model_fields)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_signature_lists_the_settings(cls: type[ChatOpenAI]) -> None:
    parameters = inspect.signature(cls).parameters
    assert [name for name in parameters if name != "model_parameters"] == list(cls.model_fields)
    assert parameters["model"].default is inspect.Parameter.empty
    assert parameters["max_retries"].default == 4
    assert parameters["stop"].default is None
    cls.model_rebuild(force=True)  # pydantic then writes a signature of its own
    assert "temperature" in inspect.signature(cls).parameters


def test_a_positional_argument_is_told_its_keyword() -> None:
    with pytest.raises(InvalidType, match=r"write `ChatOpenAI\(model='gpt-4o-mini'\)`"):
        ChatOpenAI("gpt-4o-mini")  # type: ignore[call-arg]


def test_a_subclass_without_a_docstring_has_help_too() -> None:
    class Mine(ChatOpenAI):
        mine: int = 3
        """How many."""

    assert "mine (int, default 3): How many." in (inspect.getdoc(Mine) or "")
    made = type("Made", (ChatOpenAI,), {"__module__": __name__})
    assert "max_retries" in (made.__doc__ or "")


def test_no_source_is_read_before_somebody_asks_for_help() -> None:
    program = (
        "import inspect; inspect.getsource = lambda cls: 1 / 0\n"
        "from modelwire.adapters import ChatOpenAI\n"
        "class Mine(ChatOpenAI): 'Mine.'\n"
        "repr(Mine(model='m', api_key='k')); Mine.model_rebuild(force=True)\n"
        "try: Mine.__doc__\n"
        "except ZeroDivisionError: print('read for help')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "read for help\n"
