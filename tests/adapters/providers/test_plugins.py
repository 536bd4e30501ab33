"""Providers that other packages bring by the entry points `modelwire.providers`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelwire import cli, init_chat_model
from modelwire.adapters import ChatOpenAI
from modelwire.adapters.providers import plugins, services
from modelwire.errors import InvalidArgument, MissingKey, UnknownModel
from modelwire.testing import ProviderServer

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "plugin"
LINES = {"acme": "modelwire_acme:ACME", "Acme-Echo": "modelwire_acme:ChatAcmeEcho"}

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package with entry points where Python finds it, as pip leaves it."""
    before = {*sys.modules}

    def forget() -> None:
        plugins.plugin_of.cache_clear()
        services.service_of.cache_clear()

    def put(
        package: str = "modelwire-acme", lines: dict[str, str] = LINES, source: str | None = None
    ) -> Path:
        folder = tmp_path / package
        module = package.replace("-", "_")
        (folder / f"{module}-0.1.0.dist-info").mkdir(parents=True)
        (folder / f"{module}-0.1.0.dist-info" / "METADATA").write_text(
            f"Name: {package}\nVersion: 0.1.0\n"
        )
        written = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (folder / f"{module}-0.1.0.dist-info" / "entry_points.txt").write_text(
            f"[modelwire.providers]\n{written}"
        )
        own = (EXAMPLE / "modelwire_acme.py").read_text("utf-8") if source is None else source
        (folder / f"{module}.py").write_text(own, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        return folder

    monkeypatch.setenv("ACME_API_KEY", "key-of-acme")
    forget()
    yield put
    forget()
    for name in {*sys.modules} - before:
        if name.startswith("modelwire_"):
            del sys.modules[name]


def test_a_row_of_a_plugin_is_called_like_one_of_ours(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    with ProviderServer() as server:
        monkeypatch.setenv("ACME_BASE_URL", server.base_url_for("openai"))
        assert init_chat_model("acme:large", max_tokens=9).invoke("hello").text == "hello"
        assert ChatOpenAI(provider="ACME", model="large").invoke("and again").text == "and again"
    first, second = server.requests
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer key-of-acme"
    assert first.body["max_completion_tokens"] == 9


def test_a_rows_key_and_its_page_are_named_where_the_key_is_missing(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.delenv("ACME_API_KEY")
    with pytest.raises(MissingKey, match=r"ACME_API_KEY.*https://acme\.example/docs"):
        init_chat_model("acme:large").invoke("hello")


def test_a_class_of_a_plugin_gets_model_and_arguments(install: Install) -> None:
    install()
    model = init_chat_model("acme-echo:loud", temperature=0.5)
    assert model.invoke("hello").text == "HELLO"
    assert getattr(model, "temperature", None) == 0.5
    configurable = init_chat_model(configurable_fields="any")
    assert (
        configurable.invoke("hello", {"configurable": {"model": "acme_echo:quiet"}}).text == "hello"
    )


def test_a_plugin_is_not_loaded_until_it_is_named(install: Install) -> None:
    install()
    init_chat_model("groq:some-model", api_key="k")
    with pytest.raises(UnknownModel, match=r"Did you mean `acme`"):
        init_chat_model("acmee:large")
    with pytest.raises(InvalidArgument, match=r"Did you mean `acme`"):
        ChatOpenAI(provider="acmee", model="m")
    assert "modelwire_acme" not in sys.modules


def test_a_plugin_does_not_replace_a_provider_of_ours(install: Install) -> None:
    install(lines={"groq": "modelwire_acme:ACME", "openai": "modelwire_acme:ChatAcmeEcho"})
    assert type(init_chat_model("openai:gpt-4o", api_key="k")) is ChatOpenAI
    row = services.service_of("groq")
    assert row is not None
    assert row.keys == ("GROQ_API_KEY",)


@pytest.mark.parametrize(
    ("lines", "source", "text"),
    [
        (
            {"acme": "modelwire_acme:ACME"},
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowher",
        ),
        ({"acme": "modelwire_acme:ACME"}, "raise SystemError('no')", "SystemError: no"),
        ({"acme": "modelwire_acme:GONE"}, "", "AttributeError: .*GONE"),
        (
            {"acme": "modelwire_acme:ACME"},
            "ACME = {'name': 'acme'}",
            "neither a `Service` nor a subclass",
        ),
        ({"acme": "modelwire_acme:ACME"}, "ACME = int", "neither a `Service` nor a subclass"),
    ],
)
def test_a_broken_plugin_is_named_and_disturbs_nobody_else(
    install: Install, lines: dict[str, str], source: str, text: str
) -> None:
    install(lines=lines, source=source)
    init_chat_model("groq:some-model", api_key="k")
    with pytest.raises(
        InvalidArgument, match=rf"`acme`.*modelwire_acme:\w+` of `modelwire-acme` 0\.1\.0.*{text}"
    ):
        init_chat_model("acme:large")


def test_two_plugins_of_one_name_are_refused(install: Install) -> None:
    install()
    install("modelwire-other", {"acme": "modelwire_other:ACME"})
    with pytest.raises(
        InvalidArgument, match=r"Two packages.*modelwire-(other|acme).*modelwire-(other|acme)"
    ):
        init_chat_model("acme:large")


def test_a_slip_in_an_argument_of_a_class_is_refused(install: Install) -> None:
    install()
    with pytest.raises(
        InvalidArgument, match=r"`ChatAcmeEcho` has no argument `temprature`. Did you mean `temp"
    ):
        init_chat_model("acme-echo:loud", temprature=0.5)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main([*arguments]) == 0
    return capsys.readouterr().out


def test_the_command_lists_plugins_and_says_which_is_broken(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        lines={
            **LINES,
            "broken": "modelwire_acme:GONE",
            "groq": "modelwire_acme:ACME",
            "grok": "a:B",
        }
    )
    listed = {
        entry["name"]: entry for entry in json.loads(shown(capsys, "models", "--all", "--json"))
    }
    assert (listed["acme:..."]["ready"], listed["acme:..."]["what"]) == (
        True,
        "`ACME_API_KEY` is set",
    )
    assert listed["acme_echo:..."]["ready"]
    assert not listed["broken:..."]["ready"]
    assert "cannot be loaded" in listed["broken:..."]["what"]
    monkeypatch.setenv("ACME_BASE_URL", "https://me:secret@llm.example.org/v1")
    report = shown(capsys, "doctor")
    assert "plugins: acme, acme_echo, broken\n" in report
    assert "key of acme: ACME_API_KEY = ... (11 characters)\n" in report
    assert "address of acme: https://***@llm.example.org/v1 (`ACME_BASE_URL`)\n" in report
    assert "plugin broken: The provider `broken` comes from the entry point" in report


@pytest.mark.long  # pip builds it
def test_the_example_is_installed_by_pip_and_answers(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds the example: pip install hatchling")
    copy = shutil.copytree(EXAMPLE, tmp_path / "plugin")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-build-isolation",
        "--no-deps",
    ]
    done = subprocess.run(
        [*pip, "--target", tmp_path / "here", copy], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    program = (
        "from modelwire import init_chat_model\n"
        'print(init_chat_model("acme_echo:loud").invoke("hello").text)\n'
        'print(init_chat_model("acme:large").invoke("and again").text)'
    )
    with ProviderServer() as server:
        found = os.pathsep.join([str(ROOT), str(tmp_path / "here")])
        answer = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": found,
                "ACME_API_KEY": "k",
                "ACME_BASE_URL": server.base_url_for("openai"),
            },
        )
    assert (answer.returncode, answer.stdout) == (0, "HELLO\nand again\n"), answer.stderr
