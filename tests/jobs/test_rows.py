from __future__ import annotations

import csv
import io
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import DiskError, InvalidArgument, InvalidType
from modelwire.jobs import csv_rows, rows, sources
from modelwire.jobs.rows import Row
from modelwire.jobs.sources import open_source


def read(tmp_path: Path, name: str, data: bytes, **options: Any) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(data)
    source = open_source(path, **options)
    try:
        return list(source)
    finally:
        source.close()


def outline(found: list[Row]) -> list[tuple[int, Any]]:
    """Return the line of each row, with its last value or the word that tells its problem."""
    return [
        (row.line, list(row.values.values())[-1] if row.problem is None else Exception)
        for row in found
    ]


# Each a body under the header `id,text` on line 1, with the line of each row and what is in it.
CSV_BODIES: dict[str, tuple[bytes, list[tuple[int, Any]]]] = {
    "plain": (b"1,a\n2,b\n", [(2, "a"), (3, "b")]),
    "no line feed at the end": (b"1,a\n2,b", [(2, "a"), (3, "b")]),
    "CRLF": (b"1,a\r\n2,b\r\n", [(2, "a"), (3, "b")]),
    "a cell of several lines": (b'1,"a\nb"\n2,c\n', [(2, "a\nb"), (4, "c")]),
    "doubled quotes": (b'1,"say ""a"""\n', [(2, 'say "a"')]),
    "empty lines": (b"1,a\n\n\n2,b\n", [(2, "a"), (5, "b")]),
    "an open quote before quoted rows": (
        b'1,"a\n2,"b"\n3,c\n',
        [(2, Exception), (3, "b"), (4, "c")],
    ),
    "an open quote before plain rows": (b'1,"a\n2,b\n3,c\n', [(2, Exception), (3, "b"), (4, "c")]),
    "two open quotes": (
        b'1,"a\n2,b\n3,"c\n4,d\n',
        [(2, Exception), (3, "b"), (4, Exception), (5, "d")],
    ),
    "a quote inside of a cell": (b'1,"a"b\n2,c\n', [(2, Exception), (3, "c")]),
    "a cell too many": (b"1,a,b\n2,c\n", [(2, Exception), (3, "c")]),
    "a cell too few": (b"1\n2,c\n", [(2, Exception), (3, "c")]),
    "bytes that are no text": (b"1,\xff\xfe\n2,\xc3\xa9\n", [(2, Exception), (3, "é")]),
    "NUL": (b"1,a\0b\n2,c\n", [(2, Exception), (3, "c")]),
}


@pytest.mark.parametrize(("body", "expected"), CSV_BODIES.values(), ids=CSV_BODIES)
def test_a_bad_csv_row_fails_alone_with_its_line(
    tmp_path: Path, body: bytes, expected: list[tuple[int, Any]]
) -> None:
    found = read(tmp_path, "t.csv", b"id,text\n" + body)
    assert outline(found) == expected
    assert [row.number for row in found] == list(range(len(expected)))


CELLS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=20))
def test_what_csv_writes_is_read_back(table: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([("a", "b"), *table])
    source = object.__new__(csv_rows.CsvSource)
    source.path, source.encoding, source.is_ours = Path("t.csv"), "utf-8", False
    source._file = io.StringIO(text.getvalue(), newline="")
    source._lines = csv_rows._Lines(source._file)
    source.columns = source._header()
    assert [tuple(row.values.values()) for row in source._rows()] == table


@pytest.mark.parametrize("filler", ["x" * 200, "x\n" * 100], ids=["one line", "many lines"])
def test_a_huge_cell_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filler: str
) -> None:
    for module in (csv_rows, sources):
        monkeypatch.setattr(module, "MAX_ROW_CHARS", 100)
    found = read(tmp_path, "t.csv", f'id,text\n1,"{filler}"\n2,b\n'.encode())
    assert found[0].problem is not None
    assert found[0].line == 2
    assert found[-1].values == {"id": "2", "text": "b"}
    lines = read(tmp_path, "t.jsonl", b'{"a":"' + b"x" * 200 + b'"}\n{"a":1}\n')
    assert [(row.line, row.problem is None) for row in lines] == [(1, False), (2, True)]


def test_a_cell_of_a_megabyte_is_read(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "t.csv", b"a,b\n1," + b"x" * 2**20 + b"\n")
    assert len(row.values["b"]) == 2**20


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("t.tsv", b"a\tb\n1\t2\n", {}),
        ("t.csv", b"a;b\n1;2\n", {}),
        ("t.csv", b"\xef\xbb\xbfa,b\n1,2\n", {}),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), {"encoding": "utf-16"}),
    ],
)
def test_delimiters_and_encodings(tmp_path: Path, name: str, data: bytes, options: Any) -> None:
    assert [row.values for row in read(tmp_path, name, data, **options)] == [{"a": "1", "b": "2"}]


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    assert read(tmp_path, "t.csv", b",b\n1,2\n")[0].values == {"column_1": "1", "b": "2"}


def test_columns_of_one_name_are_numbered_and_matter_to_who_names_them_only(tmp_path: Path) -> None:
    assert read(tmp_path, "t.csv", b"a,b,b,b_1\n1,2,3,4\n")[0].values == {
        "a": "1",
        "b_2": "2",
        "b_3": "3",
        "b_1": "4",
    }
    with closing(open_source(tmp_path / "t.csv")) as source:
        assert source.columns == [
            "a",
            "b_2",
            "b_3",
            "b_1",
        ]  # a prompt that names `b` is told that there is none


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "encoding"),
        ("t.csv", b'"a,b\n', "header"),
        ("t.xlsx", b"", "`.csv`"),
        ("t.parquet", b"nothing of the kind", "not a Parquet file"),
    ],
)
def test_a_file_that_is_none_is_refused_before_anything_is_asked(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    with pytest.raises(InvalidArgument, match=says):
        read(tmp_path, name, data)


def test_a_missing_file_or_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"nowhere\.csv"):
        open_source(tmp_path / "nowhere.csv")
    (tmp_path / "t.csv").write_text("a\n")
    with pytest.raises(InvalidArgument, match="utf-99"):
        open_source(tmp_path / "t.csv", encoding="utf-99")
    for given_ in (5, {"a": 1}, b"abc"):
        with pytest.raises(InvalidType):
            open_source(given_)


def test_bytes_of_another_encoding_name_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\n\xe9\n")
    (row,) = open_source(tmp_path / "t.csv")
    assert "not utf-8 text: `--encoding` (`encoding=`)" in str(row.problem)


def test_a_list_of_dicts_has_the_columns_of_its_first_rows() -> None:
    assert open_source([{"a": 1}, {"b": 2}]).columns == ["a", "b"]
    assert open_source([{"a": 1}, "text"]).columns is None
    assert open_source(iter([{"a": 1}])).columns is None


def test_a_bad_json_line_fails_alone_with_its_line(tmp_path: Path) -> None:
    body = b'{"a":1}\n{"a":\n\n"text"\n[1]\n{"a":"\xff"}\n{"a":"\0"}\n{"a":"\\ud800"}\n{"a":2}'
    found = read(tmp_path, "t.jsonl", body)
    assert [(row.line, row.problem is None) for row in found] == [
        (1, True),
        (2, False),
        (4, True),
        (5, False),
        (6, False),
        (7, False),
        (8, False),
        (9, True),
    ]
    assert found[2].values == "text"


def test_parquet_and_frames_give_plain_rows(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"a": [1, None], "b": ["x", "y"]})
    expected = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    parquet.write_table(table, tmp_path / "t.parquet")
    source = open_source(tmp_path / "t.parquet")
    assert (source.columns, source.total) == (["a", "b"], 2)
    assert [row.values for row in source] == expected
    source.close()
    assert [row.values for row in open_source(table)] == expected
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]})
    source = open_source(frame)
    assert (source.columns, source.total) == (["a", "b"], 2)
    assert [row.values for row in source] == expected


def odd_columns() -> dict[str, Any]:
    """Return a column for each kind of value that Python cannot hold: the second of three rows has it."""
    pa = pytest.importorskip("pyarrow")
    text = pa.array([b"x", b"\xff", b"z"]).cast(pa.binary())
    return {
        "a date": pa.array([0, 10**7, 1], pa.int32()).cast(pa.date32()),
        "a moment": pa.array([0, 2**62, 1], pa.int64()).cast(pa.timestamp("us")),
        "a duration": pa.array([0, 2**62, 1], pa.int64()).cast(pa.duration("s")),
        "a text": pa.Array.from_buffers(pa.string(), 3, text.buffers()),
    }


@pytest.mark.parametrize("kind", ["a date", "a moment", "a duration", "a text"])
@pytest.mark.parametrize("is_file", [True, False])
def test_a_value_that_python_cannot_hold_fails_its_row_alone(
    tmp_path: Path, kind: str, *, is_file: bool
) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"id": [1, 2, 3], "odd": odd_columns()[kind]})
    given: Any = table
    if is_file:
        given = tmp_path / "t.parquet"
        parquet.write_table(table, given)
    found = list(open_source(given))
    assert [row.problem is None for row in found] == [True, False, True]
    assert [row.number for row in found] == [0, 1, 2]
    assert (found[1].problem or "").startswith("Python cannot hold the value of `odd`: ")
    assert [row.values["id"] for row in found if row.values] == [1, 3]


def test_a_struct_with_one_name_twice_fails_its_rows_alone() -> None:
    pa = pytest.importorskip("pyarrow")
    parts = [pa.array([1, 2]), pa.array([3, 4])]
    twice = pa.StructArray.from_arrays(parts, names=["a", "a"])
    found = list(open_source(pa.table({"id": [1, 2], "odd": twice})))
    assert ["`odd`" in (row.problem or "") for row in found] == [True, True]


def test_a_polars_frame_is_known_by_its_methods() -> None:
    frame = SimpleNamespace(
        columns=["a"], iter_rows=lambda *, named: iter([{"a": 1}]), __len__=lambda: 1
    )
    assert [row.values for row in open_source(frame)] == [{"a": 1}]


def test_an_iterable_is_read_one_row_at_a_time() -> None:
    read_so_far = []

    def each() -> Any:
        for n in range(3):
            read_so_far.append(n)
            yield {"n": n} if n else "text"

    found = iter(open_source(each()))
    assert next(found).values == "text"
    assert read_so_far == [0]
    assert next(iter(open_source([object()]))).problem is not None


def test_a_fingerprint_sees_the_size_and_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "EDGE_BYTES", 16)
    path = tmp_path / "t.csv"

    def fingerprint(data: bytes) -> dict[str, Any]:
        path.write_bytes(data)
        source = open_source(path)
        source.close()
        return source.fingerprint()

    body = b"a,b\n" + b"1,2\n" * 30
    same = fingerprint(body)
    assert fingerprint(body) == same
    for other in (body + b"1,2\n", body[:-2] + b"3\n", b"c" + body[1:]):
        assert fingerprint(other) != same


def test_a_disk_that_fails_while_rows_are_read_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"{}\n")
    source = open_source(tmp_path / "t.jsonl")
    source._file.close()  # type: ignore[attr-defined]

    class Failing:
        def readline(self, _: int) -> bytes:
            raise OSError(5, "Input/output error")

        def close(self) -> None:
            pass

    source._file = Failing()  # type: ignore[attr-defined]
    with pytest.raises(DiskError, match="Input/output error"):
        list(source)


def test_a_whole_row_that_misfits_is_one_row_whatever_its_lines(tmp_path: Path) -> None:
    body = b'id,text\n1,"a\nb\nc",x\n2,"\xe9t\xe9\n2,inner"\n3,d\n'
    found = read(tmp_path, "t.csv", body)
    assert outline(found) == [(2, Exception), (5, Exception), (7, "d")]
    again = read(tmp_path, "t.csv", body, encoding="cp1252")
    assert [row.number for row in again] == [0, 1, 2]
    assert again[1].values == {"id": "2", "text": "été\n2,inner"}


@pytest.mark.parametrize("before", ["\n\n", "\r\n", "\ufeff\n"])
def test_empty_lines_before_the_header_are_passed_over(tmp_path: Path, before: str) -> None:
    found = read(tmp_path, "t.csv", f"{before}id;text\n1;a,b\n".encode())
    assert [(row.line, row.values) for row in found] == [
        (before.count("\n") + 2, {"id": "1", "text": "a,b"})
    ]


@pytest.mark.parametrize(
    ("name", "header", "columns"),
    [
        ("t.tsv", "a,b,c\td", ["a,b,c", "d"]),
        ("t.tsv", "a,b", ["a,b"]),
        ("t.csv", '"a;b;c",d', ["a;b;c", "d"]),
        ("t.csv", '"a\tb""\tc";d', ['a\tb"\tc', "d"]),
        ("t.csv", "a|b", ["a", "b"]),
        ("t.csv", '"a\nb,c,d";"e"', ["a\nb,c,d", "e"]),
    ],
)
def test_the_delimiter_is_what_divides_the_header(
    tmp_path: Path, name: str, header: str, columns: list[str]
) -> None:
    (tmp_path / name).write_text(f"{header}\n")
    source = open_source(tmp_path / name)
    source.close()
    assert source.columns == columns


def test_columns_that_a_long_json_line_may_have_are_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "EDGE_BYTES", 64)
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":"' + b"x" * 100 + b'","b":2}\n' + b'{"a":1}\n' * 200)
    source = open_source(path)
    assert source.columns is None
    assert [row.line for row in source][:3] == [1, 2, 3]


def test_utf_16_without_its_mark_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"t\.csv` is not utf-16 text"):
        read(tmp_path, "t.csv", "a,b\n1,2\n".encode("utf-16-le"), encoding="utf-16")


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.jsonl", "pipe.parquet"])
def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path, name: str) -> None:
    import os

    os.mkfifo(tmp_path / name)
    with pytest.raises(InvalidArgument, match="no file that can be read twice"):
        open_source(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidArgument, match="folder"):
        open_source(tmp_path / "folder.csv")


@pytest.mark.parametrize(("rows", "is_told"), [(400, False), (60_000, True)])
def test_how_much_of_a_file_was_read_is_told_where_the_reader_knows_it(
    tmp_path: Path, rows: int, is_told: bool
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n" + "".join(f"{n},word {n}\n" for n in range(rows)))
    source = open_source(path)
    read = iter(source)
    for _ in range(rows // 4):
        next(read)
    fraction = source.fraction()
    assert fraction == pytest.approx(0.25, abs=0.05) if is_told else fraction is None
    assert len(list(read)) == rows - rows // 4 and source.fraction() == 1
