"""`-t NAME`: options that are stored under a name, as a row `[templates.NAME]` of modelwire.toml.

A row has `system`, `model`, `params`, `schema` and `tools`. Its `tools` name a Python file that is run, so rows are
read only from the user's own file, from one that the environment names, and from a trusted file of the working
directory.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from modelwire import config
from modelwire.aliases import JSON, Kwargs
from modelwire.command import toml_edits
from modelwire.errors import InvalidArgument, InvalidConfig, did_you_mean

# The settings of a row, each with the option that it sets.
_OPTIONS = {
    "system": "system",
    "model": "model",
    "params": "param",
    "schema": "schema",
    "tools": "tools",
}


def template_rows() -> dict[str, JSON]:
    """Return the templates by name. A row of the user's own file wins over one of the file in use.

    Raises: `InvalidConfig`.
    """
    in_use = config.find_model_file()
    own = toml_edits.own_file()
    found: dict[str, JSON] = {}
    if in_use is not None and in_use != own:
        file = config.read_model_file(in_use)
        if not toml_edits.is_untrusted(in_use, file):
            found |= _rows(in_use, file.text)
    if own.is_file():
        found |= _rows(own, config.read_model_file(own).text)
    return found


def _rows(place: Path, text: str) -> dict[str, JSON]:
    import tomllib

    rows = tomllib.loads(text).get("templates", {})
    if not isinstance(rows, dict):
        raise InvalidConfig(f"`{place}`: `templates` must hold tables.", path=str(place))
    for name, row in rows.items():
        _check(place, name, row)
    return rows


def _check(place: Path, name: str, row: Any) -> None:
    if not isinstance(row, dict):
        raise InvalidConfig(f"`{place}`: `templates.{name}` must be a table.", path=str(place))
    for key, value in row.items():
        if key not in _OPTIONS:
            hint = did_you_mean(key, [*_OPTIONS])
            raise InvalidConfig(
                f"`{place}`: `templates.{name}` has no setting `{key}`. {hint}", path=str(place)
            )
        kind = dict if key == "params" else str
        if not isinstance(value, kind):
            needs = "a table" if kind is dict else "a text"
            raise InvalidConfig(
                f"`{place}`: `{key}` of `templates.{name}` must be {needs}.", path=str(place)
            )


def apply_template(options: argparse.Namespace) -> None:
    """Set the options that the user left out from the row that `-t` names. Raises: `InvalidArgument`."""
    if options.template is None:
        return
    rows = template_rows()
    if options.template not in rows:
        known = "There is none yet."
        if rows:
            known = did_you_mean(options.template, [*rows])
        raise InvalidArgument(
            f"There is no template `{options.template}`. {known} "
            "`modelwire ask -s TEXT --save NAME` saves one; those of a file in this folder are used after "
            "`modelwire config trust`."
        )
    row = rows[options.template]

    params = [f"{name}={json.dumps(value)}" for name, value in row.get("params", {}).items()]
    options.param = [*params, *options.param]  # The last one of a name wins.
    for setting, option in _OPTIONS.items():
        is_open = setting in row and setting != "params" and not getattr(options, option, None)
        if is_open and hasattr(options, option):
            setattr(options, option, row[setting])


def save_template(name: str, options: argparse.Namespace, params: Kwargs) -> Path:
    """Write the options as the row `name` of the user's own file; return its path. Raises as `toml_edits.edit`."""
    values = {
        setting: getattr(options, option)
        for setting, option in _OPTIONS.items()
        if setting != "params" and getattr(options, option)
    }
    for setting in ("schema", "tools"):
        place = values.get(setting)
        if place is not None and Path(place).is_file():
            values[setting] = str(Path(place).absolute())
    if params:
        values["params"] = params
    if not values:
        raise InvalidArgument(
            "There is nothing to save: set `-s`, `-m`, `-p`, `--schema` or `--tools`."
        )
    return toml_edits.edit(toml_edits.own_file(), ("templates", name), values)
