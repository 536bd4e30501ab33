"""`modelwire completion`: what a shell needs to complete commands and options, made of the parser itself."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["register"]

# zsh runs bash's functions.
BASH = """\
_modelwire() {{
  local path="" word words
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do case "$word" in -*) ;; *) path="$path $word" ;; esac; done
  case "$path" in
{cases}
  *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
  [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o filenames -F _modelwire modelwire
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="print what makes your shell complete modelwire's commands",
        epilog='example: eval "$(modelwire completion bash)"',
    )
    parser.add_argument("shell", help="your shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=_print, commands=commands)


def _print(options: argparse.Namespace) -> None:
    tree = dict(_words("", options.commands.choices))
    if options.shell == "fish":
        for path, words in tree.items():
            below = " ".join(f"__fish_seen_subcommand_from {name};" for name in path.split())
            condition = "; and ".join(below.rstrip(";").split("; ")) or "__fish_use_subcommand"
            for word in words:
                kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
                print(f"complete -c modelwire -n '{condition}' {kind}")
        return
    if options.shell == "zsh":
        print("autoload -Uz compinit bashcompinit && compinit && bashcompinit")
    # The longest path first; what follows an option or an argument belongs to the same command.
    cases = [
        f'  "{path}"*) words="{" ".join(words)}" ;;'
        for path, words in sorted(tree.items(), reverse=True)
        if path
    ]
    first = f'  "") words="{" ".join(tree[""])}" ;;'
    print(BASH.format(cases="\n".join([*cases, first])), end="")


def _words(
    path: str, parsers: Mapping[str, argparse.ArgumentParser]
) -> Iterator[tuple[str, list[str]]]:
    """Yield what may follow each command: the commands below it, and its long options."""
    yield path, [*parsers]
    for name, parser in parsers.items():
        own = f"{path} {name}"
        below = next(
            (
                action
                for action in parser._actions
                if isinstance(action, argparse._SubParsersAction)
            ),
            None,
        )
        if below is not None:
            yield from _words(own, below.choices)
        else:
            yield (
                own,
                [option for option in parser._option_string_actions if option.startswith("--")],
            )
