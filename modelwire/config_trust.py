"""Trust in the `modelwire.toml` of a working directory: only a trusted file may choose the address that gets a key.

Another person may have written the file of a folder that was cloned or unpacked. Until the user trusts the file, as
with direnv, it can choose models and parameters, but neither an address for a key nor a variable that is not the
provider's own. A file that the program or the environment names, and the user's own file, may do both. A trusted file
is known by a digest of its path and its text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire import lazy
from modelwire.errors import InvalidConfig
from modelwire.user_paths import owned, user_folder

if TYPE_CHECKING:
    from modelwire.adapters.providers import registry
    from modelwire.config import ModelFile, ModelRow
else:
    registry = lazy.module("modelwire.adapters.providers.registry")

__all__ = ["check_row", "is_trusted", "trust"]

# For a class without `ADDRESSES`, an argument whose name contains one of these words counts as an address.
_ADDRESS_WORDS = ("url", "endpoint", "host", "proxy", "address", "api_base")


def is_trusted(file: ModelFile) -> bool:
    """Return whether the user has trusted this file at this path and with this text."""
    return file.path is not None and _record(file.path, file.text).is_file()


def trust(file: ModelFile) -> None:
    """Record that the user trusts a file with the text that was read. Raises: `InvalidConfig` if this fails."""
    place = file.path or Path()
    record = _record(place, file.text)
    try:
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(record, "wb", opener=owned) as out:
            out.write(os.fsencode(place.resolve()))
    except OSError as exc:
        raise InvalidConfig(
            f"`{record}` cannot be written: {exc.strerror}.", path=str(record)
        ) from exc


def _record(place: Path, text: str) -> Path:
    from hashlib import sha256  # Only a file of a working directory needs it.

    digest = sha256(os.fsencode(place.resolve()) + b"\0" + text.encode("utf-8")).hexdigest()
    return user_folder("data") / "trusted" / digest


def check_row(name: str, row: ModelRow, beside: Mapping[str, Any]) -> None:
    """Raise `InvalidConfig` if a row of an untrusted file would send a key, or another variable, to an address.

    `beside` are the arguments that the program sets; they override those of the row.
    """
    wire = row.parameters.get("wire")
    made = registry.provider_row(row.provider).model_class(wire if isinstance(wire, str) else None)
    aliases: Mapping[str, str] = getattr(made, "ALIASES", {})
    in_code = {aliases.get(key, key) for key, value in beside.items() if value is not None}
    secrets = set(getattr(made, "SECRETS", ("api_key",)))
    is_set = not in_code.isdisjoint({*secrets, "aws_access_key_id"})
    own_keys = registry.key_variables(row.provider, made)
    variable = None if is_set else row.api_key_env
    if variable is not None and variable not in own_keys:
        what = f"takes the variable `{variable}`, which is not a key of `{row.provider}`"
        raise _untrusted(name, row, "api_key_env", what)
    named = {key: aliases.get(key, key) for key in row.parameters}
    for key, field in named.items():
        if field in in_code or not _is_address(made, field):
            continue
        if field != "proxy" and registry.is_own_address(row.provider, made, row.parameters[key]):
            continue
        finds_keys = bool(getattr(made, "SIGNED_BY", True)) or "credentials" in secrets
        if is_set or variable or finds_keys or any(map(os.environ.get, own_keys)):
            what = f"names an address in `{key}` that would get a key"
            raise _untrusted(name, row, key, what)


def _is_address(made: Any, field: str) -> bool:
    addresses: Iterable[str] | None = getattr(made, "ADDRESSES", None)
    if addresses is None:
        return any(word in field for word in _ADDRESS_WORDS)
    return field == "proxy" or field in addresses


def _untrusted(name: str, row: ModelRow, key: str, what: str) -> InvalidConfig:
    line = row.lines.get(key)
    where = f"`{row.path}`" + (f", line {line}" if line else "")
    return InvalidConfig(
        f"{where}: `models.{name}` {what}, and you have not trusted this file. If you know who wrote it, read it and "
        "run `modelwire config trust`.",
        path=row.path,
        line=line,
    )
