"""`modelwire keys`: API keys in the system's keyring, or in a file that only the user can read.

Only the command reads this store, and only if neither an option nor the environment has a key. Programs that use the
library do not read it, so they never use a key that their author did not pass. The index of the store has the place of
each provider's key, so that the keyring is read only if it has the key.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from modelwire import ext
from modelwire.aliases import JSON
from modelwire.command.standard_streams import decoded, has_terminal, warn
from modelwire.errors import DiskError, InvalidArgument
from modelwire.terminal_text import echo
from modelwire.user_paths import owned, user_folder

# The system's keyring stores the keys under this name of a service.
_SERVICE = "modelwire"
# An entry of the index has this value if the key itself is in the system's keyring.
_IN_KEYRING = {"keyring": True}


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    keys = commands.add_parser(
        "keys",
        help="store API keys for the command: set, list, path, rm",
        description="Store API keys for the command `modelwire`. A key comes from the environment first, then "
        "from this store: the system's keyring, where the package `keyring` is installed and finds one, else a file "
        "that only you can read. Programs that use the library read the environment only.",
    )
    below = keys.add_subparsers(required=True, metavar="COMMAND")
    set_key = below.add_parser(
        "set",
        help="store a provider's key, which is read from a prompt or from standard input",
        epilog="example: modelwire keys set openai",
    )
    set_key.add_argument("provider", help="such as openai or anthropic")
    set_key.add_argument("key", nargs="?", help=argparse.SUPPRESS)  # to refuse it without an echo
    set_key.set_defaults(run=_set)
    below.add_parser("list", help="list the providers whose key is stored").set_defaults(run=_list)
    below.add_parser("path", help="print the path of the file").set_defaults(run=_print_path)
    remove = below.add_parser("rm", help="remove a provider's key from the store")
    remove.add_argument("provider", help="as `modelwire keys list` shows it")
    remove.set_defaults(run=_remove)
    for one in below.choices.values():
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")


def stored_names() -> list[str]:
    """Return the providers whose key is stored."""
    return sorted(_index())


def stored_key(provider: str) -> str | None:
    """Return the stored key of a provider, by any of its names, or None."""
    index = _index()
    if not index:  # The usual case needs no names of providers.
        return None
    name = _name_of(provider)
    entry = index.get(name)
    if entry is None:
        return None
    if entry == _IN_KEYRING:
        keyring = _keyring()
        if keyring is None:
            return None
        with _keyring_errors("read"):
            key: str | None = keyring.get_password(_SERVICE, name)
        return key
    return str(entry.get("key") or "") or None


def key_beside_environment(provider: str) -> str | None:
    """Return the stored key of a provider; None if there is none, or if the environment has a key, which wins."""
    variables = ext.credentials_of(provider).variables
    if any(map(os.environ.get, variables)):
        return None
    return stored_key(provider)


def _path() -> Path:
    return user_folder("data") / "keys.json"


def _index() -> dict[str, JSON]:
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except OSError:  # There is no store, or it is not readable: the environment may have the key.
        return {}
    except ValueError as exc:
        raise DiskError(f"`{_path()}` cannot be read: {exc}.", path=str(_path())) from None
    is_index = isinstance(found, dict) and all(isinstance(one, dict) for one in found.values())
    if not is_index:
        raise DiskError(f"`{_path()}` does not contain stored keys.", path=str(_path()))
    return dict(found)


def _write(index: dict[str, JSON]) -> None:
    path = _path()
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        with open(fresh, "w", encoding="utf-8", opener=owned) as out:
            json.dump(index, out, indent=1)
        fresh.replace(path)
    except OSError as exc:
        raise DiskError(f"`{path}` cannot be written: {exc.strerror}.", path=str(path)) from exc


def _keyring() -> Any:
    """Return the package `keyring` if it is installed and the system has a keyring, else None."""
    try:
        keyring: Any = import_module("keyring")
        is_there = keyring.get_keyring().priority > 0
    except Exception:  # noqa: BLE001 - a keyring that is locked or broken raises what its system raises
        return None
    return keyring if is_there else None


@contextmanager
def _keyring_errors(what: str) -> Iterator[None]:
    """Convert the errors of a locked or broken keyring to `DiskError`."""
    try:
        yield
    except Exception as exc:
        raise DiskError(
            f"The system's keyring failed, and the key could not be {what}: {type(exc).__name__}: {exc}. Unlock it, or "
            "set the provider's variable in the environment. `PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring` "
            "makes `modelwire keys` store keys in a file instead."
        ) from exc


def _name_of(provider: str) -> str:
    """Return the name under which a provider's key is stored, the same for all its names. Raises: `UnknownModel`."""
    row = ext.provider_row(provider)
    named = [name for name, one in ext.PROVIDERS.items() if one is row]
    if named:
        return named[0]
    return provider.lower().replace("-", "_")


def _set(options: argparse.Namespace) -> None:
    if options.key is not None:
        raise InvalidArgument(
            "A key on the command line stays in your shell's history. Leave it out: "
            f"`modelwire keys set {options.provider}` asks for it, or reads it from standard input."
        )
    name = _name_of(options.provider)
    if not ext.credentials_of(options.provider).variables:
        raise InvalidArgument(f"`{options.provider}` takes no API key.")
    key = _read_key(name)
    index = _index()
    keyring = _keyring()
    if keyring is None:
        index[name] = {"key": key}
    else:
        with _keyring_errors("stored"):
            keyring.set_password(_SERVICE, name, key)
        index[name] = dict(_IN_KEYRING)
    _write(index)
    where = "the system's keyring"
    if keyring is None:
        where = str(_path())
    warn(f"The key of {name} is in {where}.")


def _read_key(name: str) -> str:
    key = ""
    if has_terminal():
        import getpass

        key = getpass.getpass(f"Key of {name}: ")
    elif sys.stdin is not None:
        key = decoded(sys.stdin.buffer.readline())
    key = key.strip()
    if not key or not key.isprintable() or " " in key:
        raise InvalidArgument("The input is not a key: it must be one word.")
    return key


def _list(options: argparse.Namespace) -> None:
    names = stored_names()
    for name in names:
        variables = ext.credentials_of(name).variables
        hides = next(filter(os.environ.get, variables), None)
        echo(f"{name} (`{hides}` is set and is used instead)" if hides else name)
    if not names:
        warn("No key is stored. `modelwire keys set PROVIDER` stores one.")


def _print_path(options: argparse.Namespace) -> None:
    echo(_path())


def _remove(options: argparse.Namespace) -> None:
    index = _index()
    name = _name_of(options.provider)
    entry = index.pop(name, None)
    if entry is None:
        raise InvalidArgument(f"No key of `{name}` is stored. `modelwire keys list` lists them.")
    keyring = _keyring() if entry == _IN_KEYRING else None
    if keyring is not None:
        with _keyring_errors("removed"):
            keyring.delete_password(_SERVICE, name)
    _write(index)
    warn(f"The key of {name} is removed.")
