"""Declares and reads the options that several commands share: the model, its parameters, the question, attachments.

`modelwire batch` uses them, too, so that `-m`, `-s` and `-p` are the same everywhere.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from modelwire import config, ext, messages, tools
from modelwire.aliases import JSON, Function, Kwargs
from modelwire.command import keys
from modelwire.command.standard_streams import decoded, has_terminal, warn
from modelwire.errors import InvalidArgument, UnknownModel
from modelwire.user_paths import owned

# If no model is named anywhere, the first of these is used whose key is set or stored, else the local model.
_WITHOUT_A_NAME = (
    ("OPENAI_API_KEY", "openai:gpt-4o-mini"),
    ("ANTHROPIC_API_KEY", "anthropic:claude-haiku-4-5"),
)
LOCAL = "local:smollm2"
# A fragment that is a URL is fetched with this timeout.
_FETCH_S = 30.0


def add_call_options(parser: argparse.ArgumentParser, *, default_model: str) -> None:
    """Declare `-m`, `-s`, `-p` and `-t`. `default_model` describes in the help which model is used without `-m`."""
    add = parser.add_argument
    add(
        "-m",
        "--model",
        metavar="NAME",
        help=f"such as openai:gpt-4o-mini, or a row of modelwire.toml (default: {default_model})",
    )
    add("-s", "--system", metavar="TEXT", help="the system message")
    add_parameters_and_template(parser)


def add_parameters_and_template(parser: argparse.ArgumentParser) -> None:
    """Declare `-p` and `-t`."""
    add = parser.add_argument
    add(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the model, such as temperature=0; may be given more than once",
    )
    add(
        "-t",
        "--template",
        metavar="NAME",
        help="a row [templates.NAME] of your modelwire.toml, which sets the options that you leave out (default: none)",
    )


def add_conversation_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `ask` and `chat` share."""
    add_call_options(parser, default_model="the file's, a key's, else local")
    add = parser.add_argument
    add(
        "--tools",
        metavar="FILE",
        help="a Python file; its functions with a docstring become tools (default: none)",
    )
    add(
        "-y",
        "--yes",
        action="store_true",
        help="run the tools without a question (default: ask before each call; without a terminal, decline it)",
    )
    add(
        "-a",
        "--attach",
        metavar="FILE",
        action="append",
        default=[],
        help="a file or URL (an image, a PDF, a sound, a text) to ask about, or - for standard input; may be given "
        "more than once",
    )
    add(
        "-c", "--continue", dest="go_on", action="store_true", help="continue the last conversation"
    )
    add(
        "--cid",
        type=int,
        metavar="NUMBER",
        help="continue this conversation of `modelwire log` (default: begin a new one)",
    )
    add("-R", "--hide-reasoning", action="store_true", help="do not show the model's reasoning")
    add("--plain", action="store_true", help="print no colours, also on a terminal")
    add("--no-log", action="store_true", help="keep this out of `modelwire log`")
    add("--debug", action="store_true", help="show the traceback of an error")


def warn_of_cut(new: Sequence[Any]) -> None:
    """Write a line to standard error if the last answer was cut by `max_tokens` or by the context window."""
    reason = None
    if new:
        reason = ext.finish_reason_of(new[-1])
    if reason in ext.CUT_REASONS:
        warn(
            f"The answer is cut: it reached a token limit ({reason}). `-p max_tokens=N` sets another."
        )


def choose_model(name: str | None, settings: Sequence[str] = ()) -> Any:
    """Return the model that the option, the environment or the file names; if none does, choose one and print it.

    If neither an option nor the environment has its key, the key comes from the store of `modelwire keys`.
    """
    params = parameters_of(settings)
    if not name and config.default_name() is None:
        name = _usual_model()
        why = "No key is set: this is" if name == LOCAL else "No model is named: this is"
        warn(f"{why} {name}. Choose with -m, or with `modelwire config set default NAME`.")
    return with_stored_key(config.init_chat_model, name or None, **params)


def _usual_model() -> str:
    stored = keys.stored_names()
    for variable, model in _WITHOUT_A_NAME:
        if os.environ.get(variable) or model.partition(":")[0] in stored:
            return model
    return LOCAL


def with_stored_key(make: Function, name: str | None, **arguments: Any) -> Any:
    """Return `make(name, **arguments)`, with the provider's stored key if the environment has none.

    Raises the errors of `make`.
    """
    if keys.stored_names():
        try:
            provider = config.provider_of_name(name, arguments.get("config_file"))
        except UnknownModel:  # `make` raises it with the same text
            provider = None
        key = None
        if provider is not None:
            key = keys.key_beside_environment(provider)
        if key is not None:
            arguments["api_key"] = key
    return make(name, **arguments)


def model_of(model: Any) -> str:
    """Return `provider:name` of a model."""
    named = getattr(model, "model_name", None) or getattr(model, "model", None)
    name = named or type(model).__name__
    provider = getattr(model, "provider", None)
    if provider:
        return f"{provider}:{name}"
    return str(name)


# Arguments of `init_chat_model` that choose the model instead of setting a parameter of it.
_NAMES_OF_THE_MODEL = {
    "model",
    "model_name",
    "model_provider",
    "configurable_fields",
    "config_prefix",
    "config_file",
}


def parameters_of(settings: Sequence[str]) -> Kwargs:
    """Return the parameters that the options `--param NAME=VALUE` set. Raises: `InvalidArgument`."""
    return dict(_parameter(text) for text in settings)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidArgument(
            f"`--param {text}` has no value: write NAME=VALUE, such as temperature=0."
        )
    if name in _NAMES_OF_THE_MODEL:
        raise InvalidArgument(
            f"`--param {name}=...`: that is not a parameter of a model; name the model with -m, such as "
            "-m openai:gpt-4o-mini."
        )
    is_secret_name = re.search("key|header|query|auth|ad_token", name)
    if is_secret_name or re.search("://[^/]*@|key=", value) or _KEY.search(value):
        raise InvalidArgument(
            f"`--param {name}`: a secret does not belong on a command line; put it in the environment."
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


# Matches keys of OpenAI, Anthropic, Groq, xAI, Hugging Face, NVIDIA, Perplexity, Cerebras, Replicate, Google and AWS:
# their first characters, and at least as many further ones as the shortest key has.
_KEY = re.compile(
    r"\b(?:sk-|gsk_|xai-|hf_|nvapi-|pplx-|csk-|r8_|AIza|AKIA)(?=[\w\-]*[0-9])[\w\-]{16,}"
)


def masked_keys(text: str) -> str:
    """Return the text with `***` in place of everything that looks like an API key."""
    return _KEY.sub("***", text)


def refuse_key(text: str) -> None:
    """Raise `InvalidArgument` if the text seems to hold an API key, which would be sent and stored in the log."""
    found = _KEY.search(text)
    if found is not None:
        raise InvalidArgument(
            f"The text holds what looks like an API key (`{found[0][:6]}...`), so it was neither sent nor stored. "
            "Remove the key. `modelwire keys set PROVIDER` stores one."
        )


def joined(parts: Sequence[str]) -> str:
    """Join the texts that are not empty by blank lines. Raises `InvalidArgument` if they seem to hold an API key."""
    whole = "\n\n".join(part for part in parts if part.strip())
    refuse_key(whole)
    return whole


def question(words: Sequence[str], *, is_piped: bool = True) -> str:
    """Return the words of the command line, and after them the piped text; `is_piped` False leaves it to an option.

    Raises:
        `InvalidArgument`: the piped bytes are not UTF-8, or the text holds an API key.
    """
    text = " ".join(words)
    piped = ""
    if is_piped and not has_terminal():
        piped = decoded(_piped_bytes())
    return joined((text, piped.strip("\n")))


def _piped_bytes() -> bytes:
    """Return all bytes of standard input."""
    if sys.stdin is None:
        return b""
    if hasattr(sys.stdin, "buffer"):
        return sys.stdin.buffer.read()
    return sys.stdin.read().encode()


def fragment(place: str) -> str:
    """Return the text of a file, of a URL, or of standard input (`-`). Raises: `InvalidArgument`."""
    if place == "-":
        return decoded(_piped_bytes()).strip("\n")
    if place.startswith(("http://", "https://")):
        return _fetched(place)
    try:
        return Path(place).read_text(encoding="utf-8-sig").strip("\n")
    except OSError as exc:
        raise InvalidArgument(f"`{place}` cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"`{place}` is not UTF-8 text. Attach such a file with `-a {place}`."
        ) from None


def _fetched(url: str) -> str:
    httpx2 = import_module("httpx2")
    try:
        reply = httpx2.get(url, timeout=_FETCH_S, follow_redirects=True)
        reply.raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise InvalidArgument(f"`{url}` cannot be read: {type(exc).__name__}: {exc}.") from exc
    return str(reply.text).strip("\n")


def attachment(place: str, model: Any) -> JSON:
    """Make a content block of a file or URL. Raises `InvalidArgument` if the model does not accept its kind."""
    try:
        if place.startswith(("http://", "https://")):
            block: Any = messages.from_url(place)
        else:
            block = _block_of(place)
    except InvalidArgument as exc:  # Its advice may be about arguments of a Python function.
        text, *advice = re.split(" Pass it, as in | Decode it yourself: ", str(exc))
        if advice:
            text += " Attach a file whose name has the ending of its type: `.png`, `.pdf`, `.txt` for UTF-8 text."
        raise InvalidArgument(text) from exc
    kind = block["type"]
    if getattr(model, "provider", None) == "local" and kind in ("image", "audio", "video", "file"):
        raise InvalidArgument(
            f"{model_of(model)} takes text only, and `{place}` is of type `{kind}`. Choose another model: "
            "-m openai:gpt-4o-mini."
        )
    profile = getattr(model, "profile", None) or {}
    if kind in ("image", "audio", "video") and profile.get(f"{kind}_inputs") is False:
        raise InvalidArgument(
            f"{model_of(model)} takes no {kind} by its profile, and `{place}` is of that type. Choose another model "
            f"with -m, or, if the profile is wrong: -p 'profile={{\"{kind}_inputs\": true}}'."
        )
    return dict(block)


def content_of(text: str, blocks: Sequence[JSON]) -> Any:
    """Return the content of a message: the text, or with attachments a list of blocks."""
    if not blocks:
        return text
    if text.strip():
        return [{"type": "text", "text": text}, *blocks]
    return list(blocks)


def _block_of(place: str) -> Any:
    if place != "-":
        return messages.from_path(place)
    import tempfile  # At the top it would slow down the start of every command.

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard input"
        with open(path, "wb", opener=owned) as out:
            out.write(_piped_bytes())
        try:
            return messages.from_path(path)
        except InvalidArgument:
            return messages.from_path(path, mime_type="text/plain")


# The types of a short schema, such as `name, age int`, as JSON schema has them.
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_SHORT_FIELD = re.compile(r"([A-Za-z_]\w*)(?:\s+(str|int|float|bool))?\s*(?::\s*(.+))?")


def _short_schema(text: str) -> JSON | None:
    """Return the JSON schema of a text such as `name, age int, mood: how they feel`; None for any other text."""
    separator = "\n" if "\n" in text else ","
    fields = [part.strip() for part in text.split(separator) if part.strip()]
    found = [_SHORT_FIELD.fullmatch(field) for field in fields]
    is_one_word = len(fields) == 1 and re.fullmatch(r"\S+", fields[0])
    if not fields or is_one_word:
        return None
    properties: JSON = {}
    for match in found:
        if match is None:
            return None
        properties[match[1]] = {"type": _TYPES[match[2] or "str"]}
        if match[3]:
            properties[match[1]]["description"] = match[3]
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def schema_of(place: str) -> JSON:
    """Return the JSON schema in a file or in the option itself, as JSON or in the short form `name, age int`.

    Raises: `InvalidArgument` if it cannot be read, or is not a JSON object.
    """
    short = None
    if not os.path.isfile(place):
        short = _short_schema(place)
    if short is not None:
        return {"title": "answer", **short}
    text = place
    where = "`--schema`"
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
            f"{where} is not a JSON schema: it is a `{type(schema).__name__}`, not an object."
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
    found = list(filter(_is_tool, vars(module).values()))
    if isinstance(listed, list | tuple):
        found = [*listed]
    if not found:
        raise InvalidArgument(
            f"`{place}` has no tools: write a function with a docstring, or a list `tools`."
        )
    return found


def _is_tool(thing: Any) -> bool:
    if isinstance(thing, tools.BaseTool):
        return True
    is_own = inspect.isfunction(thing) and thing.__module__ == "modelwire_tools"
    return is_own and bool(thing.__doc__) and not thing.__name__.startswith("_")
