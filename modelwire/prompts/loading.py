"""`load_prompt`: reads a prompt template from a JSON or YAML file, in the format in which LangChain
saves prompts and few-shot prompts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwire.errors import InvalidConfig, MissingDependency, did_you_mean
from modelwire.prompts.base import BasePromptTemplate
from modelwire.prompts.few_shot import FewShotPromptTemplate
from modelwire.prompts.prompt import PromptTemplate

__all__ = ["load_prompt"]

KINDS = ("prompt", "few_shot")


def load_prompt(path: str | Path, encoding: str | None = None) -> BasePromptTemplate[Any]:
    """Return the prompt in a `.json` or `.yaml` file.

    In the file `template_path`, and `examples` if it is a text, are paths relative to its folder.

    Raises: `InvalidConfig` for a file that is not a prompt, and for a jinja2 template, since the
    file may be untrusted.
    """
    file = Path(path)
    return _made(_read(file, encoding), file, encoding)


def _read(file: Path, encoding: str | None) -> Any:
    try:
        text = file.read_text(encoding=encoding or "utf-8")
    except OSError as exc:
        raise InvalidConfig(f"`{file}` cannot be read: {exc.strerror}.", path=str(file)) from exc
    if file.suffix == ".json":
        import json

        try:
            return json.loads(text)
        except ValueError as exc:
            raise InvalidConfig(f"`{file}` is not valid JSON: {exc}.", path=str(file)) from exc
    if file.suffix not in (".yaml", ".yml"):
        raise InvalidConfig(f"`{file}` is neither `.json` nor `.yaml`.", path=str(file))
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError as exc:
        raise MissingDependency("A prompt in YAML needs PyYAML: `pip install pyyaml`.") from exc
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise InvalidConfig(f"`{file}` is not valid YAML: {exc}.", path=str(file)) from exc


def _made(config: Any, file: Path, encoding: str | None) -> BasePromptTemplate[Any]:
    if not isinstance(config, dict):
        raise InvalidConfig(
            f"`{file}` is not a prompt: it must be a table of settings.", path=str(file)
        )
    values = dict(config)
    kind = values.pop("_type", "prompt")
    if kind not in KINDS:
        raise InvalidConfig(
            f"`{file}` has the unknown `_type` `{kind}`. {did_you_mean(str(kind), KINDS)}",
            path=str(file),
        )
    if values.get("template_format") == "jinja2":
        raise InvalidConfig(
            f"`{file}` has a jinja2 template: create it in the program instead.", path=str(file)
        )
    for name in ("template", "prefix", "suffix"):
        if (other := values.pop(f"{name}_path", None)) is not None:
            values[name] = (file.parent / other).read_text(encoding=encoding or "utf-8")
    if kind == "prompt":
        return PromptTemplate(**values)
    if isinstance(values.get("examples"), str):
        values["examples"] = _read(file.parent / values["examples"], encoding)
    inner = values.pop("example_prompt_path", None)
    if inner is not None:
        example = _read(file.parent / inner, encoding)
    else:
        example = values.get("example_prompt")
    values["example_prompt"] = _made(example, file, encoding)
    return FewShotPromptTemplate(**values)
