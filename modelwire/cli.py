"""The command `modelwire`. Errors take one line; exit code 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C.

Without the name of a command, as in `modelwire "Why?" -m NAME`, the arguments are those of `modelwire ask`.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

from modelwire import __version__, local
from modelwire.command.model_options import masked_keys
from modelwire.command.reserved_words import RESERVED_WORDS
from modelwire.command.shell_errors import shell_text
from modelwire.errors import CallerError, ModelwireError, did_you_mean
from modelwire.local import server as local_server
from modelwire.terminal_text import echo, printable

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    _prepare_output()
    parser = _parser()
    typed = arguments
    if typed is None:
        typed = sys.argv[1:]
    if typed and typed[0] in RESERVED_WORDS:
        print(
            f"modelwire: there is no command `{typed[0]}`. {RESERVED_WORDS[typed[0]]} "
            f'To ask a model: modelwire ask "{typed[0]} ..."',
            file=sys.stderr,
        )
        return 2
    options = parser.parse_args(_with_ask(typed, parser.commands))
    debug = getattr(options, "debug", False)
    try:
        code: int = options.run(options) or 0
        sys.stdout.flush()
        return code
    except ModelwireError as exc:
        if debug:
            raise
        text = shell_text(exc, options)
        if hasattr(options, "debug"):
            text = " ".join(text.split())
        echo(f"modelwire: {text}", file=sys.stderr)
        if isinstance(exc, CallerError):
            return 2
        return 1
    except OSError as exc:  # The output's reader is gone, or its disk is full: nothing more is written, even at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
        if not isinstance(exc, BrokenPipeError):
            echo(f"modelwire: {exc}", file=sys.stderr)
        return 1


def _with_ask(arguments: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Put `ask` before a first argument that is not a command: a text, or an option of `ask`.

    A word that is close to a command's name is left as it is, so that the parser reports a typo.
    """
    if not arguments and _is_piped():
        return ["ask"]
    first = "-h"
    if arguments:
        first = arguments[0]
    if first in ("help", "version"):
        return [f"--{first}", *arguments[1:]]
    if first in ("-h", "--help", "--version") or first in commands:
        return [*arguments]
    is_typo = len(first.split()) == 1 and get_close_matches(first, commands, 1)
    if is_typo:
        return [*arguments]
    return ["ask", *arguments]


def _is_piped() -> bool:
    """Return whether standard input is a pipe or a file, and not a terminal, `/dev/null` or closed."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


class _Parser(argparse.ArgumentParser):
    """Answers a wrong option with the usage of its command and the closest option."""

    commands: Sequence[str] = ()  # The names of all commands, set on the top parser.
    _typed: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Report unknown arguments with the usage of this command; argparse would print that of its parent."""
        if args is None:
            args = sys.argv[1:]
        self._typed = list(args)
        options, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return options, rest

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, with API keys masked, and exit with code 2."""
        line = " ".join(self._typed)
        has_key = masked_keys(line) != line
        about_key = ""
        if has_key:
            about_key = " What looks like an API key was neither sent nor stored."
        super().error(masked_keys(self._with_hint(message)) + about_key)

    def _commands_below(self) -> list[str]:
        """Return the names of this command's subcommands."""
        below = next(one for one in self._actions if isinstance(one, argparse._SubParsersAction))
        return [*below.choices]

    def _with_hint(self, message: str) -> str:
        """Add the closest command or option to an error message of argparse."""
        choice = re.match(r"argument \S+: invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            known = re.findall(r"[\w-]+", choice[2])
            word = choice[1]
            hint = ""
            if "ask" in known:
                hint = f' To ask a model: modelwire ask "{word}"'
            return f"there is no `{word}`. {did_you_mean(word, known)}{hint}"
        if message.endswith("required: COMMAND"):
            return f"{message}, one of {', '.join(self._commands_below())}"
        known = [name for name in self._option_string_actions if name.startswith("--")]
        typed = [one.partition("=")[0] for one in self._typed if one.startswith("--")]
        unknown = [one for one in typed if not any(name.startswith(one) for name in known)]
        hints = [
            f"`{one}`: did you mean `{like[0]}`?"
            for one in unknown
            if (like := get_close_matches(one, known, 1))
        ]
        return " ".join([message, *hints])


def _prepare_output() -> None:
    """Make output safe: replace closed streams, escape unencodable characters, print each warning as one line."""
    warnings.formatwarning = lambda message, *_: f"modelwire: {printable(str(message))}\n"
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as above
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> _Parser:
    parser = _Parser(prog="modelwire", description="Chat models behind one small, fast interface.")
    parser.add_argument("--version", action="version", version=f"modelwire {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name in ("ask", "chat", "inspect", "keys", "mcp", "transcripts", "completion"):
        import_module(f"modelwire.command.{name}").register(commands)

    local_commands = commands.add_parser(
        "local", help="a real model on this machine, no key needed"
    )
    below = local_commands.add_subparsers(required=True, metavar="COMMAND")
    for name, run, what, model in (
        ("pull", _local_pull, "fetch a model's weights (94 MB) into the cache folder", "which one"),
        ("path", _local_path, "print the path of a model's weights", "which one"),
        (
            "serve",
            _local_serve,
            "serve a model over the OpenAI and Anthropic wires until Ctrl-C",
            "a known model, or the path of a GGUF file",
        ),
    ):
        one = below.add_parser(name, help=what)
        one.add_argument(
            "model", nargs="?", default="smollm2", help=f"{model} (default: %(default)s)"
        )
        one.set_defaults(run=run)
    # The last command of the loop is `serve`.
    add, default = one.add_argument, "(default: %(default)s)"
    add(
        "--port",
        type=int,
        default=0,
        metavar="N",
        help="port on this machine (default: any free one)",
    )
    add(
        "--n-ctx",
        type=int,
        default=local_server.N_CTX,
        help=f"context size of all slots, in tokens {default}",
    )
    add(
        "--n-parallel",
        type=int,
        default=local_server.N_PARALLEL,
        help=f"concurrent answers {default}",
    )

    for module in (
        "testing.serve_command",
        "command.jobs",
        "command.embed",
        "command.compare",
        "migrate.command",
    ):
        import_module(f"modelwire.{module}").register(commands)
    commands.choices["completion"].set_defaults(parser=parser)
    parser.commands = list(commands.choices)
    return parser


def _local_pull(options: argparse.Namespace) -> None:
    bar = _Bar(options.model)
    try:
        path = local.pull(options.model, progress=bar)
    finally:
        bar.close()
    weights = local.KNOWN[options.model]
    print(
        f"{options.model} is ready: {path} ({weights.size_bytes / 1e6:.0f} MB, {weights.licence})"
    )


def _local_path(options: argparse.Namespace) -> None:
    print(local.find_weights(options.model))


def _local_serve(options: argparse.Namespace) -> None:
    import time

    sizes = {"n_ctx": options.n_ctx, "n_parallel": options.n_parallel}
    with local.LocalServer(options.model, **sizes, port=options.port) as server:
        print(f"{server.model_name} answers; Ctrl-C ends it")
        print(f"  OpenAI wire      base_url={server.base_url_for('openai')}")
        print(f"  Anthropic wire   base_url={server.base_url_for('anthropic')}", flush=True)
        while server.running:
            time.sleep(0.2)
    print("modelwire: the server stopped unexpectedly", file=sys.stderr)
    raise SystemExit(1)


class _Bar:
    """Shows the progress of a download: rich's bar on a terminal; elsewhere, or without rich, a line each quarter."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._quarter = -1
        self._rich: Any = None
        if sys.stderr.isatty():
            with suppress(ImportError):
                console: Any = import_module("rich.console").Console(stderr=True)
                rich: Any = import_module("rich.progress")
                columns = (*rich.Progress.get_default_columns(), rich.DownloadColumn())
                self._rich = rich.Progress(*columns, console=console, auto_refresh=False)
                self._task = self._rich.add_task(name, total=None)
                self._rich.start()

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        if self._rich is not None:
            self._rich.update(self._task, completed=done_bytes, total=total_bytes, refresh=True)
        elif (quarter := int(4 * done_bytes / total_bytes)) > self._quarter:
            self._quarter = quarter
            text = f"{self._name}  {done_bytes / 1e6:5.1f} of {total_bytes / 1e6:.1f} MB"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._rich is not None:
            self._rich.stop()


if __name__ == "__main__":
    raise SystemExit(main())
