"""Graphs of chains, and their pictures."""

from __future__ import annotations

import json
import sys
from operator import itemgetter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import PromptTemplate
from modelwire.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from modelwire.runnables.graph import Edge, Graph

prompt = PromptTemplate.from_template("{q}")


def shout(x: str) -> str:
    return x.upper()


def names(graph: Graph) -> list[tuple[str, str]]:
    return [(graph.nodes[edge.source].name, graph.nodes[edge.target].name) for edge in graph.edges]


def test_a_sequence_is_a_line_between_its_schemas() -> None:
    graph = (prompt | RunnableLambda(shout) | StrOutputParser()).get_graph()
    assert sorted(names(graph)) == sorted(
        [
            ("PromptInput", "PromptTemplate"),
            ("PromptTemplate", "shout"),
            ("shout", "StrOutputParser"),
            ("StrOutputParser", "StrOutputParserOutput"),
        ]
    )
    first, last = graph.first_node(), graph.last_node()
    assert first is not None
    assert last is not None
    assert (first.name, last.name) == ("PromptInput", "StrOutputParserOutput")


def test_branches_stand_side_by_side() -> None:
    graph = RunnableParallel(a=shout, b=RunnableLambda(len) | str).get_graph()
    assert sorted(names(graph)) == sorted(
        [
            ("Parallel<a,b>Input", "shout"),
            ("shout", "Parallel<a,b>Output"),
            ("Parallel<a,b>Input", "len"),
            ("len", "str"),
            ("str", "Parallel<a,b>Output"),
        ]
    )
    passing = RunnablePassthrough.assign(a=itemgetter("b")).get_graph()
    assert ("Parallel<a>Input", "Passthrough") in names(passing)


def test_wrappers_show_what_they_wrap() -> None:
    plain = names(RunnableLambda(shout).get_graph())
    wrapped = RunnableLambda(shout).with_retry().with_config(tags=["t"]).with_fallbacks([prompt])
    assert names(wrapped.get_graph()) == plain
    noted = RunnableLambda(shout).with_config(metadata={"k": 1}).get_graph()
    assert [node.metadata for node in noted.nodes.values() if node.name == "shout"] == [{"k": 1}]


def test_prompts_inside_are_found() -> None:
    chain = {"a": prompt, "b": RunnablePassthrough()} | RunnableLambda(shout)
    assert chain.get_prompts() == [prompt]


def test_a_graph_becomes_json() -> None:
    graph = (prompt | shout).get_graph()
    assert json.loads(json.dumps(graph.to_json())) == {
        "nodes": [
            {"id": 0, "type": "schema", "data": "PromptInput"},
            {
                "id": 1,
                "type": "runnable",
                "data": {
                    "id": ["modelwire", "prompts", "prompt", "PromptTemplate"],
                    "name": "PromptTemplate",
                },
            },
            {
                "id": 2,
                "type": "runnable",
                "data": {
                    "id": ["modelwire", "runnables", "functions", "RunnableLambda"],
                    "name": "shout",
                },
            },
            {"id": 3, "type": "schema", "data": "shout_output"},
        ],
        "edges": [
            {"source": 0, "target": 1},
            {"source": 2, "target": 3},
            {"source": 1, "target": 2},
        ],
    }
    assert graph.to_json(with_schemas=True)["nodes"][0]["data"] == prompt.get_input_jsonschema()


def test_a_graph_can_be_built_by_hand() -> None:
    graph = Graph()
    start, end = graph.add_node(prompt, id="start"), graph.add_node(shout, id="end")
    graph.add_edge(start, end, "always")
    assert (graph.first_node(), graph.last_node()) == (start, end)
    with pytest.raises(InvalidArgument, match="a node `start` already"):
        graph.add_node(prompt, id="start")
    with pytest.raises(InvalidArgument, match="is not in this graph"):
        Graph().add_edge(start, end)
    whole = Graph()
    assert whole.extend(graph, prefix="part") == (
        start.copy(id="part:start"),
        end.copy(id="part:end"),
    )
    assert whole.edges == [Edge("part:start", "part:end", "always")]


def test_an_end_is_trimmed_only_where_one_end_remains() -> None:
    graph = Graph()
    a, b, c = (graph.add_node(None, id=name) for name in "abc")
    graph.add_edge(a, b)
    graph.add_edge(b, c)
    graph.add_edge(a, c)
    graph.trim_first_node()
    graph.trim_last_node()
    assert list(graph.nodes) == ["a", "b", "c"]
    graph.edges.remove(Edge("a", "c"))
    graph.trim_first_node()
    graph.trim_last_node()
    assert list(graph.nodes) == ["b"]


# ---------------------------------------------------------------- pictures


PICTURE = """
  +----------------------+
  | Parallel<a,b,c>Input |
  +----------------------+
            *****
          **  *  **
         *    *    *
+-----+** +-----+   +-----+
| len |   | str |   | len |
+-----+   +-----+   +-----+
    *         *         *
    *         *         *
    *         *         *
    *         *     +-----+
    *         *     | str |
    *         *     +-----+
     **       *       **
       **     *     **
         *    *    *
 +-----------------------+
 | Parallel<a,b,c>Output |
 +-----------------------+
"""


def test_rows_of_boxes_are_centred_and_long_edges_pass_beside_them() -> None:
    pytest.importorskip("grandalf")
    chain = RunnableParallel(a=len, b=str, c=RunnableLambda(len) | str)
    assert chain.get_graph().draw_ascii() == PICTURE.strip("\n")


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
@example(
    [(1, 2), (1, 3), (2, 1), (0, 3), (1, 0)]
)  # no box without an edge into it, and not all reached from the first
def test_every_box_of_any_graph_is_whole(pairs: list[tuple[int, int]]) -> None:
    pytest.importorskip("grandalf")
    graph = Graph()
    nodes = [graph.add_node(None, id=f"node-{number}" * (1 + number % 3)) for number in range(8)]
    for source, target in pairs:
        graph.add_edge(nodes[source], nodes[target])
    picture = graph.draw_ascii()
    assert all(f"| {node.name} |" in picture for node in nodes)
    assert all(line == line.rstrip() for line in picture.split("\n"))


def test_without_grandalf_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grandalf.graphs", None)
    with pytest.raises(ImportError, match="pip install grandalf"):
        RunnableLambda(len).get_graph().print_ascii()


def test_an_empty_graph_has_an_empty_picture() -> None:
    assert Graph().draw_ascii() == ""


def test_mermaid_quotes_what_is_no_word() -> None:
    text = RunnableParallel(a=shout, end=len).get_graph().draw_mermaid()
    assert text.startswith("---\nconfig:\n  flowchart:\n    curve: linear\n---\ngraph TD;\n")
    assert 'Parallel_a_end_Input(["Parallel&lt;a,end&gt;Input"]):::first' in text
    assert "\tParallel_a_end_Input --> shout;\n" in text
    plain = RunnableParallel(a=shout, end=len).get_graph().draw_mermaid(with_styles=False)
    assert plain.startswith("graph TD;\n")
    assert "classDef" not in plain


def test_mermaid_tells_equal_names_and_keywords_apart() -> None:
    graph = Graph()
    a, b, end = graph.add_node(shout), graph.add_node(shout), graph.add_node(None, id="end")
    graph.add_edge(a, b)
    graph.add_edge(b, end, "if <it> must", conditional=True)
    text = graph.draw_mermaid(frontmatter_config={"config": {"theme": "neutral"}})
    assert "\tshout_1 --> shout_2;" in text
    assert '\tshout_2 -.->|"if &lt;it&gt; must"| end_;' in text
    assert "  theme: neutral" in text
