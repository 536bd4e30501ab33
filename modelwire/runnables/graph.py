"""A chain as a graph, with schemas at both ends and runnables between them. `drawing` draws a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument
from modelwire.runnables import drawing
from modelwire.runnables.drawing import CurveStyle, NodeStyles
from modelwire.runnables.schema import json_schema

if TYPE_CHECKING:
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.config import Config

__all__ = ["CurveStyle", "Edge", "Graph", "MermaidDrawMethod", "Node", "NodeStyles", "graph_of"]


class Node(NamedTuple):
    """A node of a graph: a runnable, or the schema of an input or output."""

    id: str
    name: str
    data: Any
    metadata: JSON | None = None

    def copy(self, *, id: str | None = None, name: str | None = None) -> Node:
        """Return a copy of the node with another id or name."""
        return self._replace(id=id or self.id, name=name or self.name)


class Edge(NamedTuple):
    """A connection from one node to another; `data` is its label."""

    source: str
    target: str
    data: Any = None
    conditional: bool = False

    def copy(self, *, source: str | None = None, target: str | None = None) -> Edge:
        """Return a copy of the edge between other nodes."""
        return self._replace(source=source or self.source, target=target or self.target)


@dataclass
class Graph:
    """Nodes by id, and the edges between them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def next_id(self) -> str:
        """Return a new id, unique among all graphs."""
        return uuid4().hex

    def add_node(self, data: Any, id: str | None = None, *, metadata: JSON | None = None) -> Node:
        """Add a runnable or a schema; return its node."""
        if id in self.nodes:
            raise InvalidArgument(f"The graph has a node `{id}` already.")
        is_named = id is not None and not _is_generated(id)
        name = str(id) if is_named else _name(data)
        node = Node(id or self.next_id(), name, data, metadata)
        self.nodes[node.id] = node
        return node

    def add_edge(
        self,
        source: Node,
        target: Node,
        data: Any = None,
        conditional: bool = False,  # noqa: FBT001, FBT002 - LangChain's
    ) -> Edge:
        """Connect two nodes of this graph; return the edge."""
        for node in (source, target):
            if node.id not in self.nodes:
                raise InvalidArgument(f"The node `{node.name}` is not in this graph. Add it first.")
        edge = Edge(source.id, target.id, data, conditional)
        self.edges.append(edge)
        return edge

    def remove_node(self, node: Node) -> None:
        """Remove a node and its edges."""
        self.nodes.pop(node.id)
        self.edges = [edge for edge in self.edges if node.id not in (edge.source, edge.target)]

    def extend(self, graph: Graph, *, prefix: str = "") -> tuple[Node | None, Node | None]:
        """Add all nodes and edges of another graph; return its first and last node with their ids in this graph.

        Ids that a program chose get the `prefix`; generated ids stay.
        """
        ids = {}
        for id in graph.nodes:
            is_prefixed = prefix and not _is_generated(id)
            ids[id] = f"{prefix}:{id}" if is_prefixed else id
        renamed = graph._renamed(ids)
        self.nodes.update(renamed.nodes)
        self.edges.extend(renamed.edges)
        return renamed.first_node(), renamed.last_node()

    def _renamed(self, ids: Mapping[str, str]) -> Graph:
        """Return a copy of the graph with other ids."""
        copied = Graph()
        for id, node in self.nodes.items():
            copied.nodes[ids[id]] = node.copy(id=ids[id])
        for edge in self.edges:
            copied.edges.append(edge.copy(source=ids[edge.source], target=ids[edge.target]))
        return copied

    def first_node(self) -> Node | None:
        """Return the only node to which no edge leads, or None."""
        return self._only(exclude={edge.target for edge in self.edges})

    def last_node(self) -> Node | None:
        """Return the only node from which no edge leads, or None."""
        return self._only(exclude={edge.source for edge in self.edges})

    def _only(self, exclude: set[str]) -> Node | None:
        ends = [node for id, node in self.nodes.items() if id not in exclude]
        return ends[0] if len(ends) == 1 else None

    def trim_first_node(self) -> None:
        """Remove the first node if exactly one edge leads from it and the graph then has a single first node."""
        self._trim(self.first_node(), "source", "target")

    def trim_last_node(self) -> None:
        """Remove the last node if exactly one edge leads to it and the graph then has a single last node."""
        self._trim(self.last_node(), "target", "source")

    def _trim(self, node: Node | None, side: str, other: str) -> None:
        """Remove `node`, an end of the graph, if it has exactly one edge and the graph then has a single end there.

        `side` and `other` are the attributes of an edge that hold this end and the opposite one.
        """
        if node is None:
            return
        at_node = [edge for edge in self.edges if getattr(edge, side) == node.id]
        elsewhere = [edge for edge in self.edges if node.id not in (edge.source, edge.target)]
        inside = {getattr(edge, other) for edge in elsewhere}
        ends = self.nodes.keys() - inside - {node.id}
        if len(at_node) == len(ends) == 1:
            self.remove_node(node)

    def reid(self) -> Graph:
        """Return a copy of the graph in which names replace generated ids; equal names get numbers."""
        named = Counter(node.name for node in self.nodes.values())
        seen: Counter[str] = Counter()
        ids: dict[str, str] = {}
        for id, node in self.nodes.items():
            seen[node.name] += 1
            ids[id] = id
            if _is_generated(id):
                is_unique = named[node.name] == 1
                ids[id] = node.name if is_unique else f"{node.name}_{seen[node.name]}"
        return self._renamed(ids)

    def to_json(self, *, with_schemas: bool = False) -> dict[str, list[JSON]]:
        """Return the graph as plain lists and dicts with numbered nodes."""
        ids = {id: number if _is_generated(id) else id for number, id in enumerate(self.nodes)}
        nodes = []
        for id, node in self.nodes.items():
            shown = {"id": ids[id], **_as_json(node, with_schemas=with_schemas)}
            if node.metadata:
                shown["metadata"] = node.metadata
            nodes.append(shown)
        edges = []
        for edge in self.edges:
            shown = {"source": ids[edge.source], "target": ids[edge.target]}
            if edge.data is not None:
                shown["data"] = edge.data
            if edge.conditional:
                shown["conditional"] = True
            edges.append(shown)
        return {"nodes": nodes, "edges": edges}

    def draw_ascii(self) -> str:
        """Return the graph drawn as text."""
        names = {id: node.name for id, node in self.nodes.items()}
        return drawing.draw_ascii(names, self.edges)

    def print_ascii(self) -> None:
        """Print the graph."""
        print(self.draw_ascii())  # noqa: T201

    def draw_mermaid(
        self,
        *,
        with_styles: bool = True,
        curve_style: CurveStyle | None = None,
        node_colors: NodeStyles | None = None,
        wrap_label_n_words: int = 9,
        frontmatter_config: Fields | None = None,
    ) -> str:
        """Return the graph in Mermaid's language; `frontmatter_config` is Mermaid's own configuration."""
        return drawing.draw_mermaid(
            self.reid(),
            with_styles=with_styles,
            curve_style=curve_style,
            node_colors=node_colors,
            wrap_label_n_words=wrap_label_n_words,
            frontmatter_config=frontmatter_config,
        )

    def draw_mermaid_png(self, **options: Any) -> bytes:
        """Raise `NoPicture`: pictures are not drawn here, and no chain is sent to a web service."""
        raise NoPicture(
            "`draw_mermaid_png` is not supported: show the text of `draw_mermaid()` with a Mermaid renderer "
            "(Jupyter, GitHub and mermaid.live have one), or `print_ascii()`."
        )

    draw_png = draw_mermaid_png


class NoPicture(InvalidArgument, NotImplementedError):
    """Raised by `draw_mermaid_png`: modelwire does not draw pictures of a graph."""


class MermaidDrawMethod(Enum):
    """The methods by which LangChain draws a picture of a graph; modelwire has none of them."""

    PYPPETEER = "pyppeteer"
    API = "api"


def _is_generated(id: str) -> bool:
    return len(id) == 32 and all(digit in "0123456789abcdef" for digit in id)


def _is_runnable(data: Any) -> bool:
    """Return whether the data of a node is a runnable, judged by a method: `Runnable` itself imports this module."""
    return hasattr(data, "get_input_schema") and not isinstance(data, type)


def _name(data: Any) -> str:
    name: str = data.get_name() if _is_runnable(data) else getattr(data, "__name__", str(data))
    return name.removeprefix("Runnable") or name


def _as_json(node: Node, *, with_schemas: bool) -> JSON:
    data = node.data
    if _is_runnable(data):
        cls = type(data)
        path = [*cls.__module__.split("."), cls.__name__]
        return {"type": "runnable", "data": {"id": path, "name": node.name}}
    if isinstance(data, type):
        return {"type": "schema", "data": json_schema(data) if with_schemas else node.name}
    return {"type": "unknown", "data": node.name}


def graph_of(runnable: Runnable, config: Config) -> Graph:
    """Return a graph of three nodes: the input schema, the runnable, the output schema."""
    graph = Graph()
    ends = (
        graph.add_node(runnable.get_input_schema(config)),
        graph.add_node(runnable.get_output_schema(config)),
    )
    metadata = (config or {}).get("metadata")
    node = graph.add_node(runnable, metadata=metadata)
    # The output comes last.
    graph.nodes[ends[1].id] = graph.nodes.pop(ends[1].id)
    graph.add_edge(ends[0], node)
    graph.add_edge(node, ends[1])
    return graph


def sequence_graph(steps: list[Runnable], config: Config) -> Graph:
    """Return one graph made of the graphs of the steps, one after the other."""
    graph = Graph()
    for position, step in enumerate(steps):
        part = step.get_graph(config)
        if position > 0:
            part.trim_first_node()
        if position < len(steps) - 1:
            part.trim_last_node()
        before = graph.last_node()
        first, _ = graph.extend(part)
        if before is not None and first is not None:
            graph.add_edge(before, first)
    return graph


def parallel_graph(runnable: Runnable, branches: list[Runnable], config: Config) -> Graph:
    """Return a graph of the branches, side by side between the input and output schemas of `runnable`."""
    graph = Graph()
    start = graph.add_node(runnable.get_input_schema(config))
    end = graph.add_node(runnable.get_output_schema(config))
    for branch in branches:
        part = branch.get_graph(config)
        part.trim_first_node()
        part.trim_last_node()
        first, last = graph.extend(part)
        if first is not None and last is not None:
            graph.add_edge(start, first)
            graph.add_edge(last, end)
    return graph
