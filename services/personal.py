"""Which fields of a fact are personal, read off its class, and a walk that changes just those."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

from msgspec import inspect
from msgspec.structs import replace

_T = TypeVar("_T")


class SealedField(NamedTuple):
    """A personal field (`kind`), or a part of the fact that has some (`inner`); `many`: a tuple of such."""

    attribute: str
    path: str
    kind: str = ""
    inner: "tuple[SealedField, ...]" = ()
    many: bool = False


# text or token, its field, its path ("complainant.name", "evidence.0.ref"), the struct that holds it -> replacement
Change = Callable[[str, SealedField, str, Any], Any]


@cache
def fields_of(kind: type, prefix: str = "") -> tuple[SealedField, ...]:
    """The personal fields of a class, found by its annotations, at any depth."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    found = (_field(field.name, prefix + field.name, field.type) for field in described.fields)
    return tuple(field for field in found if field)


def _field(attribute: str, path: str, described: inspect.Type) -> SealedField | None:
    match described:
        case inspect.Metadata(extra={"personal": kind}):
            return SealedField(attribute, path, kind)
        case inspect.Metadata(type=inner):
            return _field(attribute, path, inner)
        case inspect.UnionType(types=types):
            return next((found for one in types if (found := _field(attribute, path, one))), None)
        case inspect.StructType(cls=cls):
            inner_fields = fields_of(cls, f"{path}.")
            return SealedField(attribute, path, inner=inner_fields) if inner_fields else None
        case inspect.VarTupleType(item_type=inspect.Metadata(extra={"personal": kind})):
            return SealedField(attribute, path, kind, many=True)
        case inspect.VarTupleType(item_type=inspect.StructType(cls=cls)):
            inner_fields = fields_of(cls, "")
            return SealedField(attribute, path, inner=inner_fields, many=True) if inner_fields else None
        case _:
            return None


def transform(value: _T, fields: tuple[SealedField, ...], change: Change, prefix: str = "") -> _T:
    """A copy of the struct whose personal fields were passed through `change`; None stays None.

    `prefix` leads to an item of a tuple ("evidence.0."); the paths below it begin anew there.
    """
    changed: dict[str, Any] = {}
    for field in fields:
        held = getattr(value, field.attribute)
        if not held:
            continue
        if field.many and field.kind:
            changed[field.attribute] = tuple(
                change(item, field, f"{prefix}{field.path}.{index}", value) for index, item in enumerate(held)
            )
        elif field.many:
            changed[field.attribute] = tuple(
                transform(item, field.inner, change, f"{prefix}{field.path}.{index}.")
                for index, item in enumerate(held)
            )
        elif field.inner:
            changed[field.attribute] = transform(held, field.inner, change, prefix)
        else:
            changed[field.attribute] = change(held, field, prefix + field.path, value)
    return replace(value, **changed) if changed else value  # type: ignore[type-var]
