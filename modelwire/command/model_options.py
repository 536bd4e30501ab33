"""What the options of `ask` and `chat` mean: the model, its parameters, the question, attachments, tools, a schema."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire import _lazy
from modelwire.errors import InvalidArgument
from modelwire.terminal_text import echo

if TYPE_CHECKING:
    from modelwire import config, messages, tools
    from modelwire.messages import finish_reasons
else:
    finish_reasons = _lazy.module("modelwire.messages.finish_reasons")
    config, messages = _lazy.module("modelwire.config"), _lazy.module("modelwire.messages")
    tools = _lazy.module("modelwire.tools")

__all__ = [
    "add_model_options",
    "attachment",
    "choose_model",
    "model_of",
    "question",
    "refuse_key",
    "schema_of",
    "tools_of",
    "warn",
    "warn_of_cut",
]

# Without a model named anywhere: the first provider whose key is here, else a model on this machine.
WITHOUT_A_NAME = (
    ("OPENAI_API_KEY", "openai:gpt-4o-mini"),
    ("ANTHROPIC_API_KEY", "anthropic:claude-haiku-4-5"),
)
LOCAL = "local:smollm2"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `ask` and `chat` share."""
    add = parser.add_argument
    add(
        "-m",
        "--model",
        metavar="NAME",
        help="such as openai:gpt-4o-mini, or a row of modelwire.toml (default: the file's, a key's, else local)",
    )
    add("-s", "--system", metavar="TEXT", help="the system message")
    add(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the model, such as temperature=0; may be given more than once",
    )
    add(
        "--tools",
        metavar="FILE",
        help="a Python file; its functions with a docstring become tools (default: none)",
    )
    add("--plain", action="store_true", help="print no colours, also on a terminal")
    add("--no-log", action="store_true", help="keep this out of `modelwire log`")
    add("--debug", action="store_true", help="show the traceback of an error")


def warn(text: str) -> None:
    """Write a line to standard error."""
    echo(text, file=sys.stderr, flush=True)


def warn_of_cut(new: Sequence[Any]) -> None:
    """Write a line to standard error if the last answer was cut by `max_tokens` or by the context window."""
    if new and finish_reasons.finish_reason_of(new[-1]) in finish_reasons.CUT_REASONS:
        reason = finish_reasons.finish_reason_of(new[-1])
        warn(
            f"The answer is cut: it reached a token limit ({reason}). `-p max_tokens=N` sets another."
        )


def choose_model(name: str | None, settings: Sequence[str] = ()) -> Any:
    """Make the model that is named here, in the environment or in the file; without a name, say which one it is."""
    params = dict(_parameter(text) for text in settings)
    if not name and config.default_name() is None:
        name = next(
            (model for variable, model in WITHOUT_A_NAME if os.environ.get(variable)), LOCAL
        )
        why = "No key is set: this is" if name == LOCAL else "No model is named: this is"
        warn(f"{why} {name}. Choose with -m, or with `modelwire config set default NAME`.")
    return config.init_chat_model(name or None, **params)


def model_of(model: Any) -> str:
    """Return `provider:name` of a model."""
    name = (
        getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__
    )
    provider = getattr(model, "provider", None)
    return f"{provider}:{name}" if provider else str(name)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidArgument(f"`-p {text}` has no value: write NAME=VALUE, such as temperature=0.")
    if name in ("model", "model_provider"):
        raise InvalidArgument(
            f"`-p {name}`: name the model with -m, such as -m openai:gpt-4o-mini."
        )
    if re.search("key|header|query|auth|ad_token", name):
        raise InvalidArgument(
            f"`-p {name}`: a secret does not belong on a command line; put it in the environment."
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


# What the keys of OpenAI, Anthropic, Groq, xAI, Hugging Face, NVIDIA, Perplexity, Cerebras, Replicate, Google and AWS
# begin with, and at least as many characters as the shortest of them has.
_KEY = re.compile(
    r"\b(?:sk-|gsk_|xai-|hf_|nvapi-|pplx-|csk-|r8_|AIza|AKIA)(?=[\w\-]*[0-9])[\w\-]{16,}"
)


def refuse_key(text: str) -> None:
    """Raise `InvalidArgument` if the text holds what looks like an API key: it would be sent, and stored in the log."""
    found = _KEY.search(text)
    if found is not None:
        raise InvalidArgument(
            f"The text holds what looks like an API key (`{found[0][:6]}...`), so it was neither sent nor stored. "
            "Take the key out. Keys belong into the environment, such as `export OPENAI_API_KEY=...`."
        )


def question(words: Sequence[str]) -> str:
    """Return the words of the command line and, after them, what is piped in.

    Raises:
        `InvalidArgument`: the piped bytes are not UTF-8, or the text holds an API key.
    """
    text = " ".join(words)
    piped = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        piped = decoded(
            sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
        )
    whole = "\n\n".join(part for part in (text, piped.strip("\n")) if part.strip())
    refuse_key(whole)
    return whole


def decoded(data: bytes) -> str:
    """Read what is piped in. Raises `InvalidArgument` where it is no text."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        if exc.reason == "unexpected end of data" and exc.end == len(data):
            warn("The piped text ends within a character: that character is left out.")
            return data[: exc.start].decode("utf-8-sig")
        raise InvalidArgument(
            f"What is piped in is not UTF-8 text (byte {exc.start}). Send a file with `modelwire ask -a FILE`."
        ) from None


def attachment(place: str, model: Any) -> dict[str, Any]:
    """Make a content block of a file or URL. Raises `InvalidArgument` for one that the model cannot take."""
    is_url = place.startswith(("http://", "https://"))
    try:
        block: Any = messages.from_url(place) if is_url else messages.from_path(place)
    except InvalidArgument as exc:  # its advice may be about arguments of a function
        text, *advice = re.split(" Say it: | Decode it yourself: ", str(exc))
        how = " Attach a file whose name ends as its content, such as `.png`, `.pdf`, or `.txt` for UTF-8 text."
        raise InvalidArgument(text + how if advice else text) from exc
    kind = block["type"]
    if getattr(model, "provider", None) == "local" and kind in ("image", "audio", "video", "file"):
        raise InvalidArgument(
            f"{model_of(model)} reads text only, and `{place}` is of type `{kind}`. Choose another model: "
            "-m openai:gpt-4o-mini."
        )
    if (
        kind in ("image", "audio", "video")
        and (getattr(model, "profile", None) or {}).get(f"{kind}_inputs") is False
    ):
        raise InvalidArgument(
            f"{model_of(model)} takes no {kind}, says its profile, and `{place}` is of that type. Choose another model "
            f"with -m, or, if it does take them: -p 'profile={{\"{kind}_inputs\": true}}'."
        )
    return dict(block)


def schema_of(place: str) -> dict[str, Any]:
    """Read a JSON schema from a file, or from the option itself. Raises `InvalidArgument` with the line."""
    text, where = place, "`--schema`"
    if not place.lstrip().startswith("{"):
        where = f"`{place}`"
        try:
            text = Path(place).read_text(encoding="utf-8-sig")
        except OSError as exc:
            raise InvalidArgument(f"{where} cannot be read: {exc.strerror}.") from exc
        except UnicodeDecodeError:
            raise InvalidArgument(f"{where} is not valid JSON: it is not UTF-8 text.") from None
    try:
        schema = json.loads(text)
    except ValueError as exc:
        raise InvalidArgument(f"{where} is not valid JSON: {exc}.") from None
    if not isinstance(schema, dict):
        raise InvalidArgument(
            f"{where} is not a JSON schema: it holds a `{type(schema).__name__}`, not an object."
        )
    return {"title": "answer", **schema}


def tools_of(place: str | None) -> list[Any]:
    """Run a Python file and return its tools: its list `tools`, else its tools and functions with a docstring."""
    if place is None:
        return []
    import importlib.util

    spec = importlib.util.spec_from_file_location("modelwire_tools", place)
    if not Path(place).is_file() or spec is None or spec.loader is None:
        raise InvalidArgument(f"`{place}` cannot be read as a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise InvalidArgument(f"`{place}` cannot be run: {type(exc).__name__}: {exc}.") from exc
    listed = getattr(module, "tools", None)
    found = (
        [*listed]
        if isinstance(listed, list | tuple)
        else [*filter(_is_tool, vars(module).values())]
    )
    if not found:
        raise InvalidArgument(
            f"`{place}` has no tools: write a function with a docstring, or a list `tools`."
        )
    return found


def _is_tool(thing: Any) -> bool:
    is_own = (
        inspect.isfunction(thing) and thing.__module__ == "modelwire_tools" and bool(thing.__doc__)
    )
    return isinstance(thing, tools.BaseTool) or (is_own and not thing.__name__.startswith("_"))
