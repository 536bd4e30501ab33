"""JSON-Schema-Test-Suite through our check. `make test-long` fetches it (`fetch.py`).

A schema that refers to another document has to be refused when the check is made. Everything else passes, except what
is named in `EXCEPTIONS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from third_party.fetch import SUITES

from modelwire.errors import InvalidArgument
from modelwire.ext import JsonSchemaCheck

HOME = SUITES["json-schema"].home / "json" / "tests"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not HOME.exists(), reason="`make test-long` fetches JSON-Schema-Test-Suite"),
]
OLD = "http://json-schema.org/draft-0{}/schema#"
# Draft -> what `$schema` is set to where a case leaves it out.
DRAFTS = {
    "draft3": OLD.format(3),
    "draft4": OLD.format(4),
    "draft6": OLD.format(6),
    "draft7": OLD.format(7),
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
# Files of the pinned version, without those of formats.
FILES = 267


REMOTE = "refers to a document that only the suite's own server has; nothing is fetched"
OWN_DIALECT = (
    "its meta-schema is a document that only the suite's own server has; nothing is fetched"
)
FORMAT = "`format`, `contentEncoding` and `contentMediaType` are for the model only"
PYTHON = "patterns are Python's: its classes hold all of Unicode, and it has no `\\c` and `\\p`"
DEPENDENCIES = "`dependencies` is no keyword of the drafts since 2019-09, and this file is optional"
WHOLE_BOOLEAN = "no provider takes a whole schema that is `true` or `false`: a schema is an object"

# File -> why each of its schemas is refused when the check is made.
REFUSED_FILES = {"refRemote.json": REMOTE, "optional/cross-draft.json": REMOTE}
# (file, description of the case) -> the same for single ones.
REFUSED_CASES = {
    ("dynamicRef.json", case): REMOTE
    for case in (
        "$ref and $dynamicAnchor are independent of order - $defs first",
        "$ref and $dynamicAnchor are independent of order - $ref first",
        "$ref to $dynamicRef finds detached $dynamicAnchor",
        "strict-tree schema, guards against misspelled properties",
        "tests for implementation dynamic anchor and reference link",
    )
}
# (file, description of the case) -> why the check gives another answer than the suite. A row that is no longer
# needed fails its test.
EXCEPTIONS = {
    ("boolean_schema.json", "boolean schema 'true'"): WHOLE_BOOLEAN,
    ("boolean_schema.json", "boolean schema 'false'"): WHOLE_BOOLEAN,
    (
        "vocabulary.json",
        "schema that uses custom metaschema with with no validation vocabulary",
    ): OWN_DIALECT,
    **{
        (
            "optional/format-assertion.json",
            f"schema that uses custom metaschema with {case}",
        ): FORMAT
        for case in ("format-assertion: false", "format-assertion: true")
    },
    **{
        ("optional/content.json", f"validation of {case}"): FORMAT
        for case in (
            "binary string-encoding",
            "binary-encoded media type documents",
            "string-encoded content based on media type",
        )
    },
    **{
        ("optional/dependencies-compatibility.json", case): DEPENDENCIES
        for case in (
            "boolean subschemas",
            "dependencies with escaped characters",
            "multiple dependents required",
            "schema dependencies with escaped characters",
            "single dependency",
            "single schema dependency",
        )
    },
    **{
        ("optional/ecmascript-regex.json", case): PYTHON
        for case in (
            r"ECMA 262 \D matches everything but ascii digits",
            r"ECMA 262 \S matches everything but whitespace",
            r"ECMA 262 \W matches everything but ascii letters",
            r"ECMA 262 \d matches ascii digits only",
            r"ECMA 262 \s matches whitespace",
            r"ECMA 262 \w matches ascii letters only",
            r"ECMA 262 regex escapes control codes with \c and lower letter",
            r"ECMA 262 regex escapes control codes with \c and upper letter",
            r"\d in pattern matches [0-9], not unicode digits",
            r"\d in patternProperties matches [0-9], not unicode digits",
            r"\w in patternProperties matches [A-Za-z0-9_], not unicode letters",
            r"\w in patterns matches [A-Za-z0-9_], not unicode letters",
            "pattern with non-ASCII digits",
            "patternProperties with non-ASCII digits",
            "patterns always use unicode semantics with pattern",
            "patterns always use unicode semantics with patternProperties",
        )
    },
}


def files() -> Iterator[tuple[str, str]]:
    for draft in DRAFTS:
        for path in sorted((HOME / draft).rglob("*.json")):
            name = path.relative_to(HOME / draft).as_posix()
            if not name.startswith("optional/format/"):  # left out: FORMAT
                yield draft, name


def schema_of(case: dict[str, Any], draft: str) -> Any:
    schema = case["schema"]
    if isinstance(schema, dict):
        return {"$schema": DRAFTS[draft], **schema}
    return schema


def is_allowed(check: JsonSchemaCheck, value: Any) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True


def differences(case: dict[str, Any], draft: str) -> list[str]:
    """Return where our check and the suite differ."""
    try:
        check = JsonSchemaCheck(schema_of(case, draft))
    except (InvalidArgument, AttributeError) as exc:
        return [f"{case['description']}: {exc}"]
    return [
        f"{case['description']}: {one['description']}"
        for one in case["tests"]
        if is_allowed(check, one["data"]) is not one["valid"]
    ]


def test_the_whole_suite_is_here() -> None:
    assert len(list(files())) == FILES


@pytest.mark.parametrize(("draft", "name"), list(files()))
def test_the_check_gives_the_suites_answers(draft: str, name: str) -> None:
    for case in json.loads((HOME / draft / name).read_text()):
        key = name, case["description"]
        if name in REFUSED_FILES or key in REFUSED_CASES:
            with pytest.raises(InvalidArgument, match="which is not in it"):
                JsonSchemaCheck(schema_of(case, draft))
        elif key in EXCEPTIONS:
            assert differences(case, draft), f"the row {key} is no longer needed"
        else:
            assert differences(case, draft) == []
