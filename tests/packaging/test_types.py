"""The types of public classes, as programs see them that evaluate annotations."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pydantic
import pytest

import rpcguard

NAMES = [name for name in rpcguard.__all__ if is_dataclass(getattr(rpcguard, name))]


@pytest.mark.parametrize("name", NAMES)
def test_the_fields_of_a_public_class_have_types(name):
    """They are evaluated where they were written, though the class says to be of `rpcguard`."""
    public: Any = getattr(rpcguard, name)
    assert public.__module__ == "rpcguard"
    hints = get_type_hints(public)
    assert {field.name: field.type for field in fields(public)} == {
        field.name: hints[field.name] for field in fields(public)
    }


def test_a_model_of_pydantic_may_have_them():
    """Settings of a program hold policies and nodes as they are, and refuse anything else."""

    class Settings(pydantic.BaseModel):
        retry: rpcguard.RetryPolicy
        nodes: list[rpcguard.Node]

    Settings.model_rebuild(_types_namespace={"rpcguard": rpcguard})
    node, retry = rpcguard.Node("10.0.0.7", 8080), rpcguard.RetryPolicy(attempts=3)
    assert Settings(retry=retry, nodes=[node]).nodes == [node]
    with pytest.raises(pydantic.ValidationError):
        Settings(retry=3, nodes=[node])  # type: ignore[arg-type]
