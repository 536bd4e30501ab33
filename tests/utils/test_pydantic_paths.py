"""The paths that LangChain scripts import schema functions from."""

from __future__ import annotations

from pydantic.v1 import BaseModel as OldModel

from modelwire.tools import function_calling as home
from modelwire.utils import function_calling
from modelwire.utils.pydantic import create_model_v2, model_json_schema


def test_the_old_path_names_the_same_functions() -> None:
    for name in function_calling.__all__:
        assert getattr(function_calling, name) is getattr(home, name)


def test_models_are_made_of_fields_or_of_a_root() -> None:
    made = create_model_v2(
        "Point", field_definitions={"x": (int, ...), "y": (int, 0)}, module_name="mine"
    )
    assert (made.__name__, made.__module__) == ("Point", "mine")
    assert model_json_schema(made)["required"] == ["x"]
    assert model_json_schema(create_model_v2("Words", root=list[str]))["type"] == "array"


def test_the_schema_of_an_old_model_is_read_too() -> None:
    class Old(OldModel):
        x: int

    assert model_json_schema(Old)["properties"]["x"]["type"] == "integer"
