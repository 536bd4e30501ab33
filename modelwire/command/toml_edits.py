"""Changes modelwire.toml, and keeps its layout and comments by means of tomlkit."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from modelwire import config, config_trust
from modelwire.errors import InvalidConfig, MissingDependency
from modelwire.user_paths import owned, user_folder


def own_file() -> Path:
    """Return the path of the user's own file: the environment names it, or it is in the configuration folder."""
    named = os.environ.get(config.FILE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return user_folder("config") / config.FILE_NAME


def is_untrusted(place: Path, file: config.ModelFile) -> bool:
    """Return whether a file was found in the working directory, and the user has not trusted it."""
    return config.is_found_here(place) and not config_trust.is_trusted(file)


def edit(place: Path, path: tuple[str, ...], value: Any) -> Path:
    """Set the value at `path` (keys of tables) in a TOML file, which is created if missing; return the file's path.

    The new text is checked before it is written. A trusted file stays trusted, because the user has changed it.

    Raises:
        `MissingDependency`: tomlkit is not installed.
        `InvalidConfig`: the file, or the changed one, is not valid, or cannot be written.
    """
    try:
        tomlkit: Any = import_module("tomlkit")
    except ImportError as exc:
        raise MissingDependency(
            "Changing modelwire.toml needs tomlkit: `pip install 'modelwire[cli]'`. Or edit the file yourself: "
            f"{place}"
        ) from exc
    before = config.ModelFile()
    text = ""
    if place.exists():
        before = config.read_model_file(place)
        text = place.read_bytes().decode("utf-8-sig")
    was_trusted = config_trust.is_trusted(before)
    line_end = "\r\n" if "\r\n" in text else "\n"
    document = tomlkit.parse(text)
    if len(path) == 1:  # before the first table, where a reader looks for it
        document.pop(path[0], None)
        line = f"{path[0]} = {tomlkit.item(value).as_string()}{line_end}"
        text = line + tomlkit.dumps(document)
    else:
        _put(tomlkit, document, path, value)
        text = tomlkit.dumps(document).replace("\r\n", "\n").replace("\n", line_end)
    config.parse_model_file(place, text)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "wb", opener=owned) as out:
            out.write(text.encode())
    except OSError as exc:
        raise InvalidConfig(
            f"`{place}` cannot be written: {exc.strerror}.", path=str(place)
        ) from exc
    if was_trusted:
        config_trust.trust(config.read_model_file(place))
    return place


def _put(tomlkit: Any, document: Any, path: tuple[str, ...], value: Any) -> None:
    table = document
    for depth, key in enumerate(path[:-1]):
        if key not in table:
            is_parent_only = depth == 0  # `[models]` itself needs no line
            table.add(key, tomlkit.table(is_super_table=is_parent_only))
        table = table[key]
        if not isinstance(table, dict):
            raise InvalidConfig(f"`{'.'.join(path[: depth + 1])}` is a value, and not a table.")
    table[path[-1]] = value
