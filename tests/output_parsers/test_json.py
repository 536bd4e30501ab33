from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as OldModel

from modelwire.errors import InvalidType, ModelRefusalError, OutputParserException
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.output_parsers import JsonOutputParser, PydanticOutputParser
from modelwire.runnables.json_patch import json_patch


class River(BaseModel):
    name: str = Field(description="Der Name, z. B. Müglitz 河")
    length_km: int


class OldRiver(OldModel):
    name: str
    length_km: int


def said(text: str, phase: str, index: int) -> dict[str, Any]:
    return {"type": "text", "text": text, "phase": phase, "index": index}


WHOLE = '{"name": "Elbe", "length_km": 1094}'
VALUE = {"name": "Elbe", "length_km": 1094}


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"  {WHOLE}\n",
        f"```json\n{WHOLE}\n```",
        f"```\n{WHOLE}\n```",
        f"```JSON\n{WHOLE}```",
        f"Here it is:\n\n```json\n{WHOLE}\n```\nAnything else?",
        f"First code, ```python\nprint()\n``` and then\n```json\n{WHOLE}\n```",
        f"{WHOLE}\nThat is all.",
        f"`{WHOLE}`",
    ],
)
def test_json_is_found_in_what_a_model_writes(colour: Any, text: str) -> None:
    assert colour.invoke(JsonOutputParser(), AIMessage(text)) == VALUE
    assert colour.invoke(JsonOutputParser(), text) == VALUE


def test_fences_and_line_breaks_inside_strings_are_text() -> None:
    text = '```json\n{"a": "```x```\n<p>\\"1\\"</p>\t"}\n```'
    assert JsonOutputParser().parse(text) == {"a": '```x```\n<p>"1"</p>\t'}
    assert JsonOutputParser().parse('{"a": "```json x```"}') == {"a": "```json x```"}


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "",
        "{'a': 1}",
        '{"a": [1, 2',
        '```json\n{"a": 1\n```',
        '{"a": 1 "b": 2}',
        "[" * 100_000,
        "\ud800",
        "nul",
    ],
)
def test_what_is_not_json_or_not_all_of_it_is_an_error(colour: Any, text: str) -> None:
    with pytest.raises(OutputParserException, match="Invalid json output") as caught:
        colour.invoke(JsonOutputParser(), text)
    assert caught.value.llm_output == text
    with pytest.raises(OutputParserException):  # a stream ends as the call does
        colour.transform(JsonOutputParser(), [text])


def test_a_stream_gives_the_value_whenever_it_changes(colour: Any) -> None:
    chunks = [
        ' France:\n\n```json\n{"na',
        'me"',
        ': "',
        "Fr",
        'ance", ',
        '"km": 6',
        "7",
        "\n}",
        "\n```\n\nI",
        " looked",
    ]
    assert colour.transform(JsonOutputParser(), chunks) == [
        {},
        {"name": ""},
        {"name": "Fr"},
        {"name": "France"},
        {"name": "France", "km": 6},
        {"name": "France", "km": 67},
    ]
    messages = [AIMessageChunk(chunk) for chunk in chunks]
    assert colour.transform(JsonOutputParser(), messages)[-1] == {"name": "France", "km": 67}


def test_a_stream_of_differences_gives_json_patches(colour: Any) -> None:
    assert colour.transform(
        JsonOutputParser(diff=True), ['{"a', '": [', '"x', 'y", ', "1", "2]}"]
    ) == [
        [{"op": "replace", "path": "", "value": {}}],
        [{"op": "add", "path": "/a", "value": []}],
        [{"op": "add", "path": "/a/0", "value": "x"}],
        [{"op": "replace", "path": "/a/0", "value": "xy"}],
        [{"op": "add", "path": "/a/1", "value": 1}],
        [{"op": "replace", "path": "/a/1", "value": 12}],
    ]


def apply(document: Any, patch: list[dict[str, Any]]) -> Any:
    """Apply a JSON Patch of `add`, `remove` and `replace`, as RFC 6902 says it."""
    for operation in patch:
        *way, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[0:]
        ]
        if not way:
            document = operation["value"]
            continue
        place = document
        for part in way[1:]:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key: Any = int(last) if isinstance(place, list) else last
        if operation["op"] == "remove":
            del place[key]
        elif operation["op"] == "add" and isinstance(place, list):
            place.insert(key, operation["value"])
        else:
            assert operation["op"] == "add" or key in place or isinstance(place, list)
            place[key] = operation["value"]
    return document


documents = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a", "/", "~1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b/c", "~", ""]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(documents, documents)
def test_a_patch_makes_the_one_of_the_other(before: Any, after: Any) -> None:
    patch = json_patch(before, after)
    assert json.dumps(apply(copy.deepcopy(before), patch), sort_keys=True) == json.dumps(
        after, sort_keys=True
    )
    assert (patch == []) == (
        json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    )


@pytest.mark.parametrize("kind", [River, OldRiver])
def test_a_pydantic_parser_makes_objects(colour: Any, kind: Any) -> None:
    parser = PydanticOutputParser(pydantic_object=kind)
    assert parser.OutputType is kind
    assert colour.invoke(parser, f"```json\n{WHOLE}\n```") == kind(name="Elbe", length_km=1094)
    chunks = ['{"name": "El', 'be", "length_km": 1', "094", "}"]
    assert colour.transform(parser, chunks) == [
        kind(name="Elbe", length_km=1),
        kind(name="Elbe", length_km=1094),
    ]
    assert "length_km" in parser.get_format_instructions()


@pytest.mark.parametrize("kind", [River, OldRiver])
@pytest.mark.parametrize(
    "text", ['{"name": "Elbe", "length_km": "long"}', "[]", '{"name": "Elbe"}']
)
def test_json_of_another_form_is_an_error_that_says_what_is_wrong(
    colour: Any, kind: Any, text: str
) -> None:
    parser = PydanticOutputParser(pydantic_object=kind)
    with pytest.raises(
        OutputParserException, match=f"Failed to parse {kind.__name__} from completion"
    ) as caught:
        colour.invoke(parser, text)
    assert json.loads(str(caught.value.llm_output)) == json.loads(text)
    with pytest.raises(OutputParserException, match="Failed to parse"):
        colour.transform(parser, list(text))


def test_instructions_hold_the_schema_in_its_own_language() -> None:
    for parser in (
        JsonOutputParser(pydantic_object=River),
        PydanticOutputParser(pydantic_object=River),
    ):
        text = parser.get_format_instructions()
        assert "Müglitz 河" in text
        assert '"title": "River"' not in text
    assert JsonOutputParser().get_format_instructions() == "Answer with a JSON object."


@pytest.mark.parametrize("wrong", [3, int, {"type": "object"}, "River"])
def test_only_a_pydantic_class_is_taken(wrong: Any) -> None:
    with pytest.raises(InvalidType, match="pydantic class"):
        PydanticOutputParser(pydantic_object=wrong)
    with pytest.raises(InvalidType, match="pydantic class"):
        JsonOutputParser(pydantic_object=wrong)


def test_parsers_are_generic_and_named() -> None:
    parser = PydanticOutputParser[River](pydantic_object=River)
    assert parser.asdict()["_type"] == "pydantic"
    assert JsonOutputParser().asdict()["_type"] == "simple_json_output_parser"


# ---------------------------------------------------------------- refusals


BY_ANTHROPIC = AIMessage(
    [],
    response_metadata={
        "stop_reason": "refusal",
        "stop_details": {"type": "refusal", "category": "cyber", "explanation": "Not this."},
    },
)
BY_OPENAI = AIMessage("", additional_kwargs={"refusal": "I can't."})
BY_BLOCK = AIMessage([{"type": "refusal", "refusal": "I can't."}])


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (BY_ANTHROPIC, r"requested output \(category='cyber'\): Not this\."),
        (BY_OPENAI, "requested output: I can't"),
        (BY_BLOCK, "requested output: I can't"),
        (AIMessage("half", response_metadata={"stop_reason": "refusal"}), "requested output$"),
        (
            AIMessage('{"a": 1', response_metadata={"finish_reason": "SAFETY"}),
            r"\(category='SAFETY'\): {\"a\": 1$",
        ),
        (
            AIMessage("", response_metadata={"finish_reason": "content_filter"}),
            r"\(category='content_filter'\)$",
        ),
        (
            AIMessage("{}", response_metadata={"finish_reason": "SPII", "finish_message": "No."}),
            r"'SPII'\): No.$",
        ),
    ],
)
def test_a_refusal_is_its_own_error(colour: Any, message: AIMessage, says: str) -> None:
    with pytest.raises(ModelRefusalError, match=says) as caught:
        colour.invoke(JsonOutputParser(), message)
    assert caught.value.raw_message is message
    assert caught.value.is_retryable is False
    with pytest.raises(ModelRefusalError, match=says):
        colour.transform(JsonOutputParser(), [message])


def test_a_streamed_refusal_is_reported_with_all_of_its_words(colour: Any) -> None:
    chunks = [AIMessageChunk("", additional_kwargs={"refusal": part}) for part in ("I ca", "n't.")]
    chunks.append(AIMessageChunk("", response_metadata={"finish_reason": "stop"}))
    with pytest.raises(ModelRefusalError, match=r": I can't\.$"):
        colour.transform(JsonOutputParser(), chunks)
    with pytest.raises(
        ModelRefusalError, match=r": I can't\.$"
    ):  # a stream whose end nobody marked
        colour.transform(JsonOutputParser(), chunks[:2])


def test_an_answer_is_no_refusal() -> None:
    for extra in ({"refusal": None}, {"refusal": ""}):
        assert JsonOutputParser().invoke(AIMessage('{"a": 1}', additional_kwargs=extra)) == {"a": 1}
    ended = AIMessage('{"a": 1}', response_metadata={"stop_reason": "end_turn"})
    assert JsonOutputParser().invoke(ended) == {"a": 1}


# ---------------------------------------------------------------- commentary before the answer


def test_commentary_before_the_answer_is_not_read() -> None:
    message = AIMessage(
        [said('I shall answer {"so": 1}.', "commentary", 0), said(WHOLE, "final_answer", 1)]
    )
    assert JsonOutputParser().invoke(message) == VALUE
    assert PydanticOutputParser(pydantic_object=River).invoke(message) == River(**VALUE)


def test_commentary_is_no_value_of_a_stream() -> None:
    pieces = [
        said('{"so": 1}', "commentary", 0),
        said('{"name": "El', "final_answer", 1),
        said(WHOLE[12:], "", 1),
    ]
    chunks = [
        AIMessageChunk([{key: value for key, value in piece.items() if value != ""}])
        for piece in pieces
    ]
    assert list(JsonOutputParser().transform(iter(chunks))) == [{"name": "El"}, VALUE]


def test_an_answer_of_commentary_alone_is_shown_in_the_error() -> None:
    with pytest.raises(OutputParserException, match="let me see"):
        JsonOutputParser().invoke(AIMessage([said("let me see", "commentary", 0)]))
