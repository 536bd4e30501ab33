"""`modelwire chat`: a conversation at the terminal. Ctrl-C stops an answer and keeps the conversation.

With the extra `cli` the prompt has editing, history, completion and several lines (Alt-Enter); without it a line that
ends with a backslash continues on the next line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import Any

from modelwire import config, ext, messages
from modelwire import tools as loop
from modelwire.aliases import JSON
from modelwire.command import model_options, templates, transcripts, waiting
from modelwire.command.approvals import Approver
from modelwire.command.shell_errors import shell_text
from modelwire.command.standard_streams import decoded, has_terminal, warn
from modelwire.command.terminal import Screen, bill, is_terminal
from modelwire.errors import InvalidArgument, ModelwireError, StepLimitReached, did_you_mean
from modelwire.user_paths import owned

_PROMPT = "> "
# The line about a conversation that continues shows at most this many characters of its last question.
_LAST_QUESTION_CHARACTERS = 60
HELP = {
    "model": "NAME: use another model from the next question on; without a name, show the present one",
    "system": "TEXT: set the system message; without a text, show it",
    "save": "FILE: save the conversation, as JSON, or as Markdown to a .md file",
    "load": "FILE: continue a conversation that /save wrote as JSON",
    "tools": "FILE: let the model call the functions of a Python file; without a file, list the tools",
    "cost": "show the tokens and dollars of this conversation",
    "image": "FILE: send a file or URL (an image, a PDF, a sound, a text) with the next question",
    "undo": "remove the attachments, or if there are none the last question and its answer",
    "help": "list the commands",
    "quit": "end the chat",
}


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    chat = commands.add_parser(
        "chat",
        help="talk with a model; /help lists what else it can do",
        description="Talk with a model. Lines that begin with / are commands, /help lists them. Ctrl-C stops an "
        "answer, Ctrl-D ends the chat. With lines that are piped in, the exit code is 1 if a question failed.",
    )
    model_options.add_conversation_options(chat)
    chat.set_defaults(run=_chat)


def _chat(options: argparse.Namespace) -> int:
    templates.apply_template(options)
    talk, history = transcripts.earlier(options)
    chat = Chat(model_options.choose_model(options.model, options.param), options)
    chat.resume(talk, history)
    for place in options.attach:
        chat.attached.append(model_options.attachment(place, chat.model))
    is_logged = not options.no_log and config.keeps_transcripts()
    if chat.is_piped:
        read = _piped
    else:
        read = _reader([*chat.commands], is_logged=is_logged)
    if not chat.is_piped:
        warn(f"{model_options.model_of(chat.model)}. /help lists the commands, Ctrl-D ends.")
        if chat.history:
            warn(_standing(talk, chat.history))
    while not chat.ended:
        try:
            line = read()
        except EOFError:
            break
        except KeyboardInterrupt:
            if chat.is_piped:
                raise
            warn("(Ctrl-D or /quit ends the chat)")  # Ctrl-C only clears the line.
            continue
        chat.take(line)
    if chat.is_piped and chat.failed:
        return 1
    return 0


def _standing(talk: int | None, history: list[Any]) -> str:
    """Return a line about the conversation that the user continues: its number, its size, its last question."""
    questions = [one for one in history if one.type == "human"]
    line = f"Conversation {talk} continues after {len(history)} messages."
    if questions:
        last = shorten(str(questions[-1].text), _LAST_QUESTION_CHARACTERS, placeholder=" ...")
        line += f" Its last question: {last}"
    return line


class Chat:
    """One conversation: the model, the messages, the attachments of the next question, and the commands."""

    def __init__(self, model: Any, options: argparse.Namespace) -> None:
        self.model = model
        self.options = options
        self.system: str | None = options.system
        self.history: list[Any] = []
        self.tools = model_options.tools_of(options.tools)
        self.approver = Approver(approves_all=options.yes)
        self.attached: list[JSON] = []
        self.ended = False
        self.failed = False  # Whether a question got no complete answer.
        self.is_piped = not has_terminal()
        self._talk: int | None = None
        self.commands: dict[str, Callable[[str], None]] = {
            f"/{name}": getattr(self, f"_{name}") for name in HELP
        }

    def resume(self, talk: int | None, history: list[Any]) -> None:
        """Continue a conversation, by its number in the log and its messages, including the system message."""
        self.system = next((one.text for one in history if one.type == "system"), None)
        self.history = [one for one in history if one.type != "system"]
        self._talk = talk

    def take(self, line: str) -> None:
        """Run one line of input. An error is printed as one line, and the chat continues."""
        try:
            if line.strip() in ("quit", "exit"):
                self.ended = True
            elif line.startswith("/"):
                name, _, rest = line.strip().partition(" ")
                if name not in self.commands:
                    raise InvalidArgument(
                        f"There is no `{name}`. {did_you_mean(name, [*self.commands])}"
                    )
                rest = rest.strip()
                what = HELP[name[1:]]
                if what.startswith("FILE"):
                    rest = os.path.expanduser(rest)  # No shell has expanded the `~`.
                    if not rest and "without a file" not in what:
                        raise InvalidArgument(f"Name the file: {name} FILE")
                self.commands[name](rest)
            elif line.strip() or self.attached:
                self._answer(line)
        except ModelwireError as exc:
            if self.options.debug:
                raise
            warn(f"modelwire: {' '.join(shell_text(exc, self.options).split())}")
        except KeyboardInterrupt:
            if self.is_piped:
                raise
            warn("(stopped)")

    def _answer(self, text: str) -> None:
        model_options.refuse_key(text)
        asked_before = len(self.history)
        self.history.append(messages.HumanMessage(model_options.content_of(text, self.attached)))
        screen = Screen(is_plain=self.options.plain, hides_reasoning=self.options.hide_reasoning)
        try:
            self.approver.end_line = screen.end_line
            with ext.observing(waiting.WaitingNote()):
                screen.show(
                    loop.stream_tools(self.model, self._whole(), self.tools, approve=self.approver)
                )
        except BaseException as exc:
            self.failed = True
            stopped = screen.stopped()
            if not stopped or not isinstance(exc, KeyboardInterrupt | StepLimitReached):
                del self.history[asked_before:]  # The user may ask it again.
                raise
            self.history += stopped
            raise
        else:
            self.history += screen.messages
            model_options.warn_of_cut(screen.messages)
        finally:
            if self.is_piped or len(self.history) > asked_before:
                self.attached = []
            elif self.attached:
                warn(f"{len(self.attached)} attached to the next question; /undo drops them")
            if self.history:
                model = model_options.model_of(self.model)
                self._talk = transcripts.keep(
                    self._talk, model, self._whole(), off=self.options.no_log
                )

    def _whole(self) -> list[Any]:
        """Return the messages of the conversation, the system message first."""
        if not self.system:
            return list(self.history)
        return [messages.SystemMessage(self.system), *self.history]

    def _model(self, name: str) -> None:
        if name:
            self.model = model_options.choose_model(name, self.options.param)
        warn(model_options.model_of(self.model))

    def _system(self, text: str) -> None:
        if text:
            self.system = text
        warn(self.system or "(no system message)")

    def _save(self, place: str) -> None:
        whole = self._whole()
        if place.endswith(".md"):
            text = "\n\n".join(f"## {message.type}\n\n{message.text}" for message in whole) + "\n"
        else:
            text = json.dumps(
                messages.messages_to_dict(whole), ensure_ascii=False, indent=1, default=str
            )
        try:
            with open(place, "w", encoding="utf-8", opener=owned) as file:
                file.write(text)
        except OSError as exc:
            raise InvalidArgument(f"`{place}` cannot be written: {exc.strerror}.") from exc
        warn(f"{len(whole)} messages are in {place}")

    def _load(self, place: str) -> None:
        try:
            text = Path(place).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
            raise InvalidArgument(f"`{place}` cannot be read: {reason}.") from exc
        whole = transcripts.read_messages(text, f"`{place}`")
        self.resume(None, whole)
        warn(f"{len(whole)} messages")

    def _tools(self, place: str) -> None:
        if place:
            self.tools = model_options.tools_of(place)
        names = [
            str(getattr(tool, "name", None) or getattr(tool, "__name__", "?"))
            for tool in self.tools
        ]
        warn(", ".join(names) or "(no tools)")

    def _cost(self, _: str) -> None:
        warn(bill(self.history))

    def _image(self, place: str) -> None:
        self.attached.append(model_options.attachment(place, self.model))
        warn(f"{len(self.attached)} attached to the next question")

    def _undo(self, _: str) -> None:
        if self.attached:
            self.attached = []
            warn("nothing is attached")
            return
        questions = [place for place, one in enumerate(self.history) if one.type == "human"]
        if not questions:
            raise InvalidArgument("There is nothing to undo.")
        del self.history[questions[-1] :]
        warn(f"{len(self.history)} messages are left")

    def _help(self, _: str) -> None:
        for name, text in HELP.items():
            warn(f"/{name:7} {text}")

    def _quit(self, _: str) -> None:
        self.ended = True


def _reader(commands: list[str], *, is_logged: bool) -> Callable[[], str]:
    """Return the function that reads the next message from the user."""
    if is_terminal():
        with suppress(ImportError):
            return _edited(commands, is_logged=is_logged)
    with suppress(ImportError):
        import_module("readline")  # It lets the user edit the line, where Python has it.
    return _typed


def _piped() -> str:
    line = b""
    if sys.stdin is not None:
        line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return decoded(line).rstrip("\r\n")


def _typed() -> str:
    lines = [input(_PROMPT)]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input("  "))
    return "\n".join(lines)


def _edited(commands: list[str], *, is_logged: bool) -> Callable[[], str]:
    """Return a function that reads a message by prompt-toolkit. Raises `ImportError` if it is not installed."""
    toolkit = import_module("prompt_toolkit")
    bindings = import_module("prompt_toolkit.key_binding").KeyBindings()
    bindings.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    history = None
    if is_logged:
        with suppress(OSError):
            path = transcripts.own_file("typed")
            history = import_module("prompt_toolkit.history").FileHistory(str(path))
    completer = import_module("prompt_toolkit.completion").WordCompleter(commands, sentence=True)
    session = toolkit.PromptSession(history=history, completer=completer, key_bindings=bindings)

    def read() -> str:
        return str(session.prompt(_PROMPT, prompt_continuation="  "))

    return read
