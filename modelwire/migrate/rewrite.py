"""Rewrites the imports of one program in its syntax tree. Comments, layout and all other code stay the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import MetadataWrapper, PositionProvider

from modelwire.migrate.import_map import (
    home_of,
    is_theirs,
    keeps_its_file,
    module_home,
    reason,
    root_module,
)

# The errors of the SDKs, which LangChain passes on, with the classes of `modelwire.errors` that replace them.
_ERRORS = {
    "APIError": "ChatError",
    "APIStatusError": "ProviderError",
    "AuthenticationError": "AuthenticationError",
    "PermissionDeniedError": "PermissionDenied",
    "NotFoundError": "NotFound",
    "BadRequestError": "BadRequest",
    "UnprocessableEntityError": "BadRequest",
    "ConflictError": "Conflict",
    "RateLimitError": "RateLimited",
    "InternalServerError": "ServerError",
    "APIConnectionError": "WireError",
    "APITimeoutError": "Timeout",
}


class Left(NamedTuple):
    """An import that was not rewritten: its line, the name, and the reason."""

    line: int
    what: str
    why: str
    keeps_file: bool = False  # If True, nothing in its file is rewritten.


class Rewritten(NamedTuple):
    """A rewritten program."""

    text: bytes
    imports: int  # The number of names and modules that were rewritten.
    left: list[Left]


def rewrite(source: bytes) -> Rewritten:
    """Return `source` with LangChain's imports rewritten. Raises: `SyntaxError` if it is not Python.

    A program that imports LangGraph, or an agent of LangChain's, is unchanged: graphs and agents take only
    LangChain's models and messages.
    """
    try:
        wrapper = MetadataWrapper(cst.parse_module(source))
    except cst.ParserSyntaxError as exc:
        raise SyntaxError(f"line {exc.raw_line}: {exc.message.splitlines()[0]}") from exc
    imports = _Imports()
    module = wrapper.visit(imports)
    keeping = [left for left in imports.left if left.keeps_file]
    if keeping:
        return Rewritten(source, 0, keeping)
    return Rewritten(module.bytes, imports.count, imports.left)


class _Imports(cst.CSTTransformer):  # type: ignore[misc, unused-ignore]  # Any where libcst is not installed
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.left: list[Left] = []
        # The packages that statements such as `import langchain_core.messages` bind, with modelwire's modules.
        self.bare: dict[str, str] = {}
        # The ids of the nodes of imports that are alone on their line.
        self.alone: set[int] = set()

    def _line(self, node: Any) -> int:
        return int(self.get_metadata(PositionProvider, node).start.line)

    def _leave(self, node: Any, module: str, name: str = "") -> None:
        if name:
            what = f"`{name}` of `{module}`"
        else:
            what = f"`{module}`"
        keeps_file = keeps_its_file(module, name)
        self.left.append(Left(self._line(node), what, reason(module, name), keeps_file))

    def leave_SimpleStatementLine(self, original: Any, updated: Any) -> Any:
        """Rewrite an import that is alone on its line. It becomes several lines if its names are in several modules."""
        if len(original.body) != 1 or not isinstance(original.body[0], cst.ImportFrom):
            return updated
        lines = list(self._places(original.body[0], updated.body[0]))
        first = updated.with_changes(body=[lines[0]])
        rest = [cst.SimpleStatementLine(body=[line]) for line in lines[1:]]
        if rest:
            return cst.FlattenSentinel([first, *rest])
        return first

    def leave_ImportFrom(self, original: Any, updated: Any) -> Any:
        """Rewrite an import that shares its line with others; `leave_SimpleStatementLine` rewrites all others."""
        if id(original) in self.alone:
            return updated
        lines = list(self._places(original, updated))
        if len(lines) == 1:
            return lines[0]
        return cst.FlattenSentinel(lines)

    def visit_SimpleStatementLine(self, node: Any) -> None:
        """Record which imports are alone on their line."""
        if len(node.body) == 1:
            self.alone.add(id(node.body[0]))

    def _places(self, original: Any, node: Any) -> Iterator[Any]:
        """Yield the statements that import the same names from their new modules."""
        module = None
        if node.module is not None and not node.relative:
            module = get_full_name_for_node(node.module)
        if module in ("openai", "anthropic") and not isinstance(node.names, cst.ImportStar):
            self._report_errors(
                original, module, [get_full_name_for_node(alias.name) or "" for alias in node.names]
            )
        if module is None or not is_theirs(module):
            yield node
            return
        if isinstance(node.names, cst.ImportStar):
            yield self._starred(original, node, module)
            return
        groups: dict[str, list[Any]] = {}
        for alias in node.names:
            name = get_full_name_for_node(alias.name) or ""
            home = home_of(module, name)
            if home is None:
                self._leave(original, module, name)
                groups.setdefault(module, []).append(alias)
                continue
            self.count += 1
            groups.setdefault(home[0], []).append(_renamed(alias, name, home[1]))
        if len(groups) == 1:
            ((home_module, aliases),) = groups.items()
            yield node.with_changes(module=_dotted(home_module), names=aliases)
            return
        for home_module, aliases in groups.items():
            yield cst.ImportFrom(module=_dotted(home_module), names=_separated(aliases))

    def _starred(self, original: Any, node: Any, module: str) -> Any:
        home = module_home(module)
        if home is None:
            self._leave(original, module)
            return node
        self.count += 1
        return node.with_changes(module=_dotted(home))

    def _report_errors(self, node: Any, package: str, names: Sequence[str]) -> None:
        for name in filter(_ERRORS.__contains__, names):
            why = f"calls raise `modelwire.errors.{_ERRORS[name]}` instead"
            self.left.append(Left(self._line(node), f"`{name}` of `{package}`", why))

    def visit_Attribute(self, node: Any) -> None:
        """Report a use of an SDK's error, such as `openai.RateLimitError` in an `except` line."""
        if isinstance(node.value, cst.Name) and node.value.value in ("openai", "anthropic"):
            self._report_errors(node, node.value.value, [node.attr.value])

    def leave_Import(self, original: Any, updated: Any) -> Any:
        """Rewrite `import langchain_core.messages`, with or without `as`."""
        names = []
        for alias in updated.names:
            module = get_full_name_for_node(alias.name) or ""
            home = module_home(module) if is_theirs(module) else None
            if is_theirs(module) and home is None:
                self._leave(original, module)
            if home is not None:
                self.count += 1
                alias = alias.with_changes(name=_dotted(home))
                if alias.asname is None:
                    package = module.partition(".")[0]
                    self.bare[package] = root_module(package) or package
            names.append(alias)
        return updated.with_changes(names=names)

    def leave_Attribute(self, original: Any, updated: Any) -> Any:
        """Rewrite an expression such as `langchain_core.messages.HumanMessage` if its package is in `bare`."""
        root = updated.value
        if isinstance(root, cst.Name) and root.value in self.bare:
            return updated.with_changes(value=_dotted(self.bare[root.value]))
        return updated

    def visit_SimpleString(self, node: Any) -> None:
        """Report a text that names a module of LangChain's, such as the target of `mock.patch`."""
        text = node.raw_value
        if is_theirs(text) and "." in text and " " not in text and len(text) < 200:
            why = "it may name a module: check whether it must change"
            self.left.append(Left(self._line(node), f"the text `{text}`", why))


def _dotted(path: str) -> Any:
    return cst.parse_expression(path)


def _renamed(alias: Any, name: str, new: str) -> Any:
    if name == new:
        return alias
    asname = alias.asname or cst.AsName(name=cst.Name(name))
    return alias.with_changes(name=cst.Name(new), asname=asname)


def _separated(aliases: Sequence[Any]) -> list[Any]:
    """Return the names separated by commas on one line."""
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    bare = [alias.with_changes(comma=comma) for alias in aliases]
    bare[-1] = bare[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return bare
