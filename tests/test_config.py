"""Which model a program talks to: strings, the file, the environment, and what is said when they are wrong."""

from pathlib import Path
from typing import Any

import pytest

from modelwire import init_chat_model
from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import InvalidArgument, InvalidConfig, InvalidType, MissingKey, UnknownModel

FILE = """\
default = "quick"

[models.quick]
provider = "openai"
model = "gpt-4o-mini"
temperature = 0

[models."in house"]
provider = "anthropic"
model = "claude-sonnet-4-5"
base_url = "http://127.0.0.1:9"
api_key_env = "HOUSE_KEY"
max_tokens = 50
"""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k2")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "modelwire.toml").write_text(FILE, encoding="utf-8")
    return tmp_path / "modelwire.toml"


@pytest.mark.parametrize(
    ("name", "provider", "cls", "model"),
    [
        ("openai:gpt-4o-mini", None, ChatOpenAI, "gpt-4o-mini"),
        ("anthropic:claude-sonnet-4-5", None, ChatAnthropic, "claude-sonnet-4-5"),
        ("gpt-4o-mini", None, ChatOpenAI, "gpt-4o-mini"),
        ("o3-mini", None, ChatOpenAI, "o3-mini"),
        ("claude-haiku-4-5", None, ChatAnthropic, "claude-haiku-4-5"),
        ("ft:gpt-4o:acme:x:1", "openai", ChatOpenAI, "ft:gpt-4o:acme:x:1"),
        ("my-own", "anthropic", ChatAnthropic, "my-own"),
    ],
)
def test_a_string_names_the_model(name: str, provider: str | None, cls: type, model: str) -> None:
    made = init_chat_model(name, model_provider=provider, temperature=0)
    assert (type(made), made.model, made.temperature) == (cls, model, 0)


def test_a_row_of_the_file_names_it_and_arguments_win(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_KEY", "k3")
    made = init_chat_model("in house", max_tokens=7, config_file=file)
    assert (type(made), made.model, made.max_tokens) == (ChatAnthropic, "claude-sonnet-4-5", 7)
    assert "k3" in made.build_request("hi").headers.values()


def test_the_default_of_the_file_and_the_environment_name_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert init_chat_model().model == "gpt-4o-mini"
    monkeypatch.setenv("MODELWIRE_MODEL", "anthropic:claude-x")
    assert init_chat_model().model == "claude-x"
    assert init_chat_model("openai:gpt-y").model == "gpt-y"


def test_the_file_may_lie_elsewhere(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "config" / "modelwire" / "modelwire.toml"
    elsewhere.parent.mkdir(parents=True)
    file.rename(elsewhere)
    assert init_chat_model("quick").model == "gpt-4o-mini"
    elsewhere.rename(tmp_path / "other.toml")
    assert init_chat_model("quick", config_file=tmp_path / "other.toml").model == "gpt-4o-mini"
    monkeypatch.setenv("MODELWIRE_CONFIG", str(tmp_path / "other.toml"))
    assert init_chat_model("quick").model == "gpt-4o-mini"


def test_a_place_that_cannot_be_looked_at_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "XDG_CONFIG_HOME", f"/{'a' * 300}"
    )  # fails for every user, root too, as a closed folder does
    assert init_chat_model("openai:m", api_key="k").model == "m"
    monkeypatch.delenv("XDG_CONFIG_HOME")

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert init_chat_model("openai:m", api_key="k").model == "m"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opnai:gpt-4o", "Did you mean `openai`"),
        ("antropic:claude", "Did you mean `anthropic`"),
        ("quik", "Did you mean `quick`"),
        ("zzz", "Known: "),
        ("gtp-4o-mini", r"Did you mean `gpt-4o-mini`(, `gpt-[^`]*`)*\?$"),
        ("clade-sonnet-4-5", r"Did you mean `claude-sonnet-4-5`\?$"),
        ("openai:", "no model after the colon"),
    ],
)
def test_a_wrong_name_offers_the_close_ones(file: Path, name: str, said: str) -> None:
    with pytest.raises(UnknownModel, match=said):
        init_chat_model(name)


def test_a_provider_may_be_named_beside_the_model() -> None:
    model: Any = init_chat_model("openai:m", provider="groq", api_key="k")
    assert model.provider == "groq"


def test_a_wrong_provider_and_a_wrong_wire_offer_the_close_ones() -> None:
    with pytest.raises(UnknownModel, match="Did you mean `openai`"):
        init_chat_model("x", model_provider="openia")
    with pytest.raises(InvalidArgument, match="anthropic"):
        init_chat_model("anthropic:claude-x", wire="openai")


def test_no_name_at_all_says_the_ways_to_give_one() -> None:
    with pytest.raises(UnknownModel, match="MODELWIRE_MODEL"):
        init_chat_model().invoke("hi")
    with pytest.raises(InvalidType, match="string"):
        init_chat_model(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[models.a\nprovider = 1", 1, "not valid TOML"),
        ('x = 1\ny = "', 2, "not valid TOML"),
        ("modles = 1\n", 1, "Did you mean `models`"),
        ("\n\ndefault = 3\n", 3, "must be the name"),
        ("models = 3\n", 1, "tables"),
        ('[models]\n\nb = "openai:x"\n', 3, "must be a table"),
        ('[models.b]\nprovider = "openai"\n', 1, "has no `model`"),
        (
            '[models.b]\nmodl = "openai:gpt-4o"\n',
            2,
            "has no `model`. Is `modl` a misspelling of it?",
        ),
        (
            '[models.b]\nmodel = "nobody-knows"\n',
            1,
            "has no `provider`. Write both in one: `model = ",
        ),
        (
            '[models.a]\nprovider="openai"\nmodel="m"\n[models.b]\nprovder = "openai"\nmodel = "m"\n',
            5,
            "`provder`",
        ),
        ('[models.b]\nprovider = "openai"\nmodel = 4\n', 3, "must be a string"),
        ('[models.b]\n\nmodel = "opnai:gpt-4o-mini"\n', 3, "Did you mean `openai`"),
        ('[models.b]\nmodel = "openai:m"\n\ntemperature = "hot"\n', 4, "`temperature`"),
        ('[models.b]\nmodel = "openai:m"\nmax_retries = -1\n', 3, "`max_retries` must be"),
        ('[models.b]\nprovider = "openai"\nmodel = "m"\napi_key = "canary"\n', 4, "api_key_env"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidConfig, match=said) as caught:
        init_chat_model("b", config_file=path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert f"line {line}" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no file"):
        init_chat_model("b", config_file=tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="UTF-8"):
        init_chat_model("b", config_file=tmp_path / "binary.toml")


def test_the_variable_of_a_key_that_is_not_set_is_named(file: Path) -> None:
    with pytest.raises(MissingKey, match="HOUSE_KEY"):
        init_chat_model("in house", config_file=file)


def test_arguments_of_a_row_reach_the_model_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(
        '[models.b]\nprovider="openai"\nmodel="m"\nseed=7\n[models.b.model_kwargs]\ncustom=[1, 2]\n'
    )
    body: dict[str, Any] = dict(init_chat_model("b", config_file=path).build_request("hi").body)
    assert (body["seed"], body["custom"]) == (7, [1, 2])


def test_a_row_may_name_provider_and_model_in_one(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('[models.b]\nmodel = "anthropic:claude-x"\n[models.c]\nmodel = "gpt-x"\n')
    assert type(init_chat_model("b", config_file=path)) is ChatAnthropic
    assert type(init_chat_model("c", config_file=path)) is ChatOpenAI


def test_a_file_nested_beyond_reading_is_an_error_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "modelwire.toml"
    file.write_text("default = " + "[" * 100_000 + "]" * 100_000)
    with pytest.raises(InvalidConfig, match=r"modelwire\.toml` has values nested too deep"):
        init_chat_model("quick", config_file=file)


def test_a_key_that_is_given_is_asked_of_no_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "modelwire.toml"
    path.write_text('[models.house]\nprovider = "openai"\nmodel = "m"\napi_key_env = "HOUSE_KEY"\n')
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    for name in ("api_key", "openai_api_key"):
        model = init_chat_model("house", config_file=path, **{name: "mine"})
        assert model.build_request("hi").headers["Authorization"] == "Bearer mine"  # type: ignore[union-attr]
    with pytest.raises(MissingKey, match="`HOUSE_KEY`"):
        init_chat_model("house", config_file=path)


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_a_bad_address_in_the_environment_is_blamed_on_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv(variable, "nonsense")
    with pytest.raises(InvalidArgument, match=f"`{variable}` in the environment is not a URL"):
        init_chat_model("openai:gpt-4o-mini")


def test_a_wrong_value_of_the_program_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text('[models.b]\nmodel = "openai:m"\ntemperature = 1\n', encoding="utf-8")
    with pytest.raises(InvalidArgument, match="`temperature`") as caught:
        init_chat_model("b", config_file=path, temperature="hot", api_key="k")
    assert not isinstance(caught.value, InvalidConfig)


def test_the_name_of_a_cloud_offers_its_own_wire_first() -> None:
    with pytest.raises(UnknownModel, match=r"Did you mean `bedrock_converse`, `bedrock_"):
        init_chat_model("bedrock:us.amazon.nova-pro-v1:0")
