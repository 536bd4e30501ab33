"""Generated tables of every dialect, cell and type, through a job and back, against readers of other people's.

What a row's answer says is what the chain was given, so a row with another's answer is seen.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument
from modelwire.jobs import JobResult, run_job
from modelwire.jobs.output import ABOUT
from modelwire.jobs.sources import open_source
from modelwire.runnables import RunnableLambda

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

OUTPUTS = (".csv", ".tsv", ".jsonl", ".parquet")
ODD = st.sampled_from("\",;\t|\r\n'=+-@ \u2028\u2029\x85\x1c\ufeff\xa0é€😀\\{}")
Table = list[dict[str, Any]]


def texts(*, codec: str = "utf-8", nul: bool = False, **limits: Any) -> st.SearchStrategy[str]:
    characters = st.characters(codec=codec, exclude_characters="" if nul else "\0")
    odd = ODD.filter(lambda c: _fits(c, codec))
    return st.text(st.one_of(odd, characters), **{"max_size": 12, **limits})


def _fits(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def tables(
    cells: st.SearchStrategy[Any], names: st.SearchStrategy[str]
) -> st.SearchStrategy[Table]:
    def rows(columns: list[str]) -> st.SearchStrategy[Table]:
        row = st.tuples(*(cells for _ in columns)).map(
            lambda values: dict(zip(columns, values, strict=True))
        )
        return st.lists(row, max_size=8)

    return st.lists(names, min_size=1, max_size=4, unique=True).flatmap(rows)


def properties(quick: int, thorough: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a property a few examples in `make test`, and many in `make test-long`."""

    def both(test: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize(
            "examples",
            [
                pytest.param(quick, id="few"),
                pytest.param(thorough, id="many", marks=pytest.mark.long),
            ],
        )
        def run(tmp_path_factory: pytest.TempPathFactory, examples: int) -> None:
            checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
            folder = partial(tmp_path_factory.mktemp, "table")
            settings(
                max_examples=examples, deadline=None, suppress_health_check=checks, database=None
            )(given(data=st.data())(lambda data: test(data, folder())))()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return both


# ---------------------------------------------------------------- what is expected


def said_of(row: Any) -> str:
    return repr(sorted(row.items())) if isinstance(row, dict) else repr(row)


def job(rows: Any, output: Path, **options: Any) -> JobResult:
    return run_job(RunnableLambda(said_of), rows, output=output, quiet=True, **options)


def names_of(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return the output's columns for these of the input, by the rule that the module says: set apart, in order."""
    taken = list(columns)
    for part, names in (("answer", ("answer",)), ("job", ABOUT)):
        for name in names:
            while name in taken:
                name = f"{part}_{name}"
            taken.append(name)
    return taken


def cell_text(value: Any) -> str:
    """Return what a CSV cell of a plain value says."""
    return "" if value is None else str(value)


def is_cell(found: str, value: Any) -> bool:
    """Tell whether a cell of a CSV says a value; lists and objects are JSON, however that is spelt."""
    return bool(
        json.loads(found) == value if isinstance(value, (dict, list)) else found == cell_text(value)
    )


def stands_for(text: str, value: Any) -> bool:
    """Tell whether the text of a cell is read as a value that it may stand for."""
    if value is None or isinstance(value, (str, bool)):
        return text == cell_text(value)
    if isinstance(value, float):
        return is_same(value, float(text))
    return bool(json.loads(text) == value)


def is_same(found: Any, value: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return isinstance(found, float) and math.isnan(found)
    if isinstance(found, str) and not isinstance(value, str):
        return bool(json.loads(found) == value)
    return bool(found == value)


def check_output(
    result: JobResult, table: Table, columns: Sequence[str], answers: Sequence[str | None]
) -> None:
    """Read an output with other people's readers, and with ours, and compare every cell."""
    names = names_of(table, columns)
    answer_column = names[len(columns)]
    assert result.output is not None
    suffix = result.output.suffix
    assert result.complete and result.rows == len(table) == len(answers)
    if suffix in (".csv", ".tsv"):
        delimiter = "\t" if suffix == ".tsv" else ","
        # pandas gives a column without a name one, and takes the mark U+FEFF off the first.
        found = (
            read_by_pandas(result.output, sep=delimiter)
            if all(names) and names[0][0] != "\ufeff"
            else None
        )
        with result.output.open(newline="", encoding="utf-8") as file:
            lines = [*csv.reader(file, delimiter=delimiter, strict=True)]
        assert lines[0] == names
        theirs = [dict(zip(names, line, strict=True)) for line in lines[1:]]
        assert found is None or found == theirs
        assert [row.values for row in open_source(result.output, is_ours=True)] == theirs
        for line, own in zip(theirs, result, strict=True):
            assert list(own) == names and all(
                stands_for(text, own[name]) for name, text in line.items()
            ), (line, own)
        for line, row, answer in zip(theirs, table, answers, strict=True):
            assert all(is_cell(line[name], row.get(name)) for name in columns), (line, row)
            assert line[answer_column] == (answer or "")
        return
    if suffix == ".jsonl":
        text = result.output.read_bytes().decode()
        theirs = [json.loads(line, parse_constant=pytest.fail) for line in text.split("\n")[:-1]]
    else:
        theirs = parquet.read_table(result.output).to_pylist()
    assert all(
        is_same(list(one.values()), list(two.values())) or suffix == ".parquet"
        for one, two in zip(theirs, result, strict=True)
    )
    for line, row, answer in zip(theirs, table, answers, strict=True):
        assert list(line) == names
        for name in columns:
            value = row.get(name)
            if suffix == ".jsonl" and isinstance(value, float) and not math.isfinite(value):
                value = None  # JSON has no such number
            assert is_same(line[name], value), (name, line[name], value)
        assert line[answer_column] == answer


def read_by_pandas(path: Path, **options: Any) -> Table:
    frame = pd.read_csv(
        path,
        dtype=str,
        keep_default_na=False,
        index_col=False,
        skip_blank_lines=False,
        encoding="utf-8",
        **options,
    )
    return [
        dict(zip(map(str, frame.columns), map(str, row), strict=True))
        for row in frame.itertuples(index=False)
    ]


# ---------------------------------------------------------------- CSV and TSV


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")
MARKS = ",;\t|"


def as_csv(lines: Sequence[Sequence[str]], mark: str, end: str, *, quote_all: bool) -> str:
    def cell(text: str) -> str:
        if quote_all or not text or any(c in text for c in f'"\r\n{MARKS}\ufeff'):
            return '"' + text.replace('"', '""') + '"'
        return text

    return "".join(mark.join(map(cell, line)) + end for line in lines)


@pytest.mark.long
@properties(8, 500)
def test_any_csv_is_read_row_by_row_and_written_cell_by_cell(data: Any, folder: Path) -> None:
    encoding = data.draw(st.sampled_from(ENCODINGS))
    cells = texts(codec=encoding.removesuffix("-sig"))
    names = cells.filter(lambda name: name.strip() and not name.startswith("\ufeff"))
    table = data.draw(tables(cells, names))
    columns = list(table[0]) if table else ["only"]
    suffix = data.draw(st.sampled_from((".csv", ".csv", ".tsv")))
    mark = (
        "\t" if suffix == ".tsv" else data.draw(st.sampled_from(MARKS)) if len(columns) > 1 else ","
    )
    end, quote_all = data.draw(st.sampled_from(("\n", "\r\n", "\r"))), data.draw(st.booleans())
    lines: list[list[str]] = [columns, *(list(row.values()) for row in table)]
    bad = data.draw(st.sets(st.integers(1, len(table)))) if table else set()
    for place in bad:  # a cell too many, or too few
        lines[place] = data.draw(
            st.sampled_from(([*lines[place], "x"], lines[place][:-1] or ["a", "b"]))
        )
    path = folder / f"in{suffix}"
    path.write_bytes(as_csv(lines, mark, end, quote_all=quote_all).encode(encoding))
    reference = [
        dict(zip(columns, line, strict=True)) if len(line) == len(columns) else None
        for line in lines[1:]
    ]
    result = job(path, folder / f"out{data.draw(st.sampled_from(OUTPUTS))}", encoding=encoding)
    assert result.failed == len(bad)
    answers = [None if row is None else said_of(row) for row in reference]
    check_output(result, [row or {} for row in reference], columns, answers)
    assert job(path, result.output, encoding=encoding).asked == 0
    if not bad and encoding == "utf-8":
        assert read_by_pandas(path, sep=mark) == table


@properties(12, 400)
def test_rows_that_are_no_text_fail_alone_and_their_encoding_mends_them(
    data: Any, folder: Path
) -> None:
    """Of cp1252 read as UTF-8 the plain rows are asked; told the encoding, a retry asks the others and no more."""
    cells = texts(codec="cp1252").filter(lambda text: "\ufeff" not in text)
    table = data.draw(tables(cells, st.sampled_from(["a", "b", "c", "d"])).filter(bool))
    columns = list(table[0])
    path = folder / "in.csv"
    path.write_bytes(
        as_csv([columns, *(list(row.values()) for row in table)], ",", "\n", quote_all=True).encode(
            "cp1252"
        )
    )
    is_text = [all(_is_utf8(cell.encode("cp1252")) for cell in row.values()) for row in table]
    seen = [
        dict(zip(row, _as_utf8(row.values()), strict=True)) if ok else None
        for row, ok in zip(table, is_text, strict=True)
    ]
    result = job(path, folder / "out.jsonl")
    check_output(
        result, [row or {} for row in seen], columns, [row and said_of(row) for row in seen]
    )
    if all(row is None or row == right for row, right in zip(seen, table, strict=True)):
        again = job(path, folder / "out.jsonl", encoding="cp1252", retry_failed=True)
        assert again.asked == is_text.count(False)
        check_output(again, table, columns, [said_of(row) for row in table])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_utf8(cells: Any) -> list[str]:
    return [cell.encode("cp1252").decode(errors="surrogateescape") for cell in cells]


# ---------------------------------------------------------------- JSON lines


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63, 0, 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
VALUES = st.recursive(
    st.one_of(st.none(), NUMBERS, texts(nul=True)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts(), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.long
@properties(15, 500)
def test_any_json_lines_come_back_value_by_value(data: Any, folder: Path) -> None:
    names = st.one_of(st.sampled_from(["a", "b", "answer", "error", "job_error"]), texts(nul=True))
    row = st.dictionaries(names, VALUES, max_size=4)
    table = data.draw(st.lists(row, max_size=8))
    end, mark = (
        data.draw(st.sampled_from((b"\n", b"\r\n", b"\n\n"))),
        data.draw(st.sampled_from((b"", b"\xef\xbb\xbf"))),
    )
    ascii_only = data.draw(st.booleans())
    bad = data.draw(st.sets(st.integers(0, len(table) - 1))) if table else set()
    lines = [
        b"[1]" if n in bad else json.dumps(row, ensure_ascii=ascii_only).encode()
        for n, row in enumerate(table)
    ]
    path = folder / "in.jsonl"
    path.write_bytes(mark + b"".join(line + end for line in lines))
    reference: Table = [{} if n in bad else row for n, row in enumerate(table)]
    columns = list(dict.fromkeys(name for row in reference for name in row))
    result = job(path, folder / f"out{data.draw(st.sampled_from(OUTPUTS))}")
    answers = [None if n in bad else said_of(row) for n, row in enumerate(reference)]
    check_output(result, reference, columns, answers)
    assert job(path, result.output).asked == 0


# ---------------------------------------------------------------- Parquet and data frames


COLUMNS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "float": (
        pa.float64(),
        st.one_of(st.none(), st.floats(), st.sampled_from([math.inf, -math.inf, math.nan])),
    ),
    "int": (pa.int64(), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))),
    "text": (pa.string(), st.one_of(st.none(), texts(nul=True))),
    "bool": (pa.bool_(), st.one_of(st.none(), st.booleans())),
    "list": (pa.list_(pa.int64()), st.one_of(st.none(), st.lists(st.integers(-9, 9), max_size=3))),
}


@properties(15, 500)
def test_parquet_and_frames_come_back_type_by_type(data: Any, folder: Path) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    row = st.tuples(*(COLUMNS[kind][1] for kind in kinds)).map(
        lambda values: dict(zip(kinds, values, strict=True))
    )
    table = data.draw(st.lists(row, max_size=8))
    arrow = pa.Table.from_pylist(
        table, schema=pa.schema([(kind, COLUMNS[kind][0]) for kind in kinds])
    )
    given_as = data.draw(st.sampled_from(("parquet", "arrow", "pandas", "dicts")))
    rows: Any = table
    if given_as == "parquet":
        rows = folder / "in.parquet"
        parquet.write_table(arrow, rows)
    elif given_as == "arrow":
        rows = arrow
    elif given_as == "pandas":
        rows = pd.DataFrame(
            {
                kind: pd.Series([row[kind] for row in table], dtype=_pandas_type(kind))
                for kind in kinds
            }
        )
    # A file's NaN is a number that is none; in memory it stands for what is missing, as in pandas.
    keeps_nan = given_as == "parquet"
    reference = [
        {name: _missing(value, keeps_nan=keeps_nan) for name, value in row.items()} for row in table
    ]
    result = job(rows, folder / f"out{data.draw(st.sampled_from(OUTPUTS))}")
    check_output(
        result,
        reference,
        kinds if table or given_as != "dicts" else [],
        [said_of(row) for row in reference],
    )
    assert job(rows, result.output).asked == 0


def _pandas_type(kind: str) -> str:
    return {"float": "float64", "int": "Int64", "bool": "boolean"}.get(kind, "object")


def _missing(value: Any, *, keeps_nan: bool) -> Any:
    return None if isinstance(value, float) and math.isnan(value) and not keeps_nan else value


# ---------------------------------------------------------------- answers


@properties(12, 400)
def test_any_answer_comes_back_from_any_format(data: Any, folder: Path) -> None:
    answers = data.draw(
        st.lists(st.one_of(texts(nul=True), texts(nul=True), NUMBERS), min_size=1, max_size=8)
    )
    chain = RunnableLambda(lambda row: answers[row["n"]])
    output = folder / f"out{data.draw(st.sampled_from(OUTPUTS))}"
    result = run_job(chain, [{"n": n} for n in range(len(answers))], output=output, quiet=True)
    found = [row["answer"] for row in result]
    if output.suffix in (".csv", ".tsv"):
        assert all(
            one == cell_text(two) or is_same(one, two)
            for one, two in zip(found, answers, strict=True)
        )
    else:
        assert all(is_same(one, two) for one, two in zip(found, answers, strict=True))


def test_the_checks_see_a_wrong_cell(tmp_path: Path) -> None:
    result = job([{"a": "x"}], tmp_path / "o.csv")
    check_output(result, [{"a": "x"}], ["a"], [said_of({"a": "x"})])
    for table, answers in (([{"a": "y"}], [said_of({"a": "x"})]), ([{"a": "x"}], ["another"])):
        with pytest.raises(AssertionError):
            check_output(result, table, ["a"], answers)
    with pytest.raises(InvalidArgument):
        job(tmp_path / "none.csv", tmp_path / "p.csv")
