"""The syntax tree of a checked condition. Pure.

The CEL library keeps its tree to itself, but it writes a compiled expression as a protocol buffer,
`cel.expr.CheckedExpr` in an `Any`. This module reads the few fields that we need:

    tree = parse_tree(_CALL.compile('queue == "sales"').serialize())
    tree.name, [part.name or part.text for part in tree.parts]  →  "_==_", ["queue", "sales"]
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

# The field numbers of cel/expr/checked.proto and cel/expr/syntax.proto.
_ANY_VALUE = 2
_CHECKED_EXPR, _CHECKED_SOURCE = 4, 5
_SOURCE_POSITIONS = 4
_EXPR_ID = 2
_CONSTANT, _STRUCT, _LOOP = 3, 8, 9
_CONSTANT_TEXTS = (6, 7)  # a string, bytes
_LOOP_NAMES = (1, 8, 3)  # element, second element, accumulator

Kind = Literal["constant", "name", "field", "call", "list", "map", "message", "loop"]
# For each field of an expression: the kind of its node, the field of the name, those of the parts.
_NODES: Mapping[int, tuple[Kind, int, tuple[int, ...]]] = {
    _CONSTANT: ("constant", 0, ()),
    4: ("name", 1, ()),
    5: ("field", 2, (1,)),
    6: ("call", 2, (1, 3)),
    7: ("list", 0, (1,)),
    _STRUCT: ("map", 1, ()),
    _LOOP: ("loop", 0, (2, 4, 5, 6, 7)),  # range, first value, condition, step, result
}
_Fields = Mapping[int, list[int | bytes]]


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree, with the position of its first character, or of its operator.

    `name` is that of a name, a field, a function or a message; `text` the value of a constant text;
    `parts` are the operands: of a map, its keys and values in turn; of a loop, its range, first
    value, condition, step and result. `names` are a loop's element, second element and accumulator.
    """

    kind: Kind
    position: int
    name: str = ""
    text: str | None = None
    parts: tuple["Node", ...] = ()
    names: tuple[str, ...] = ()


def parse_tree(serialized: bytes) -> Node:
    """Read the tree of a compiled expression."""
    checked = _read(_bytes(_read(serialized), _ANY_VALUE))
    source = _read(_bytes(checked, _CHECKED_SOURCE))
    places = (_read(entry) for entry in _all_bytes(source, _SOURCE_POSITIONS))
    positions = {_number(place, 1): _number(place, 2) for place in places}
    return _parse(_bytes(checked, _CHECKED_EXPR), positions)


def iter_nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for part in node.parts:
        yield from iter_nodes(part)


def _parse(encoded: bytes, positions: Mapping[int, int]) -> Node:
    expr = _read(encoded)
    number = next((one for one in expr if one != _EXPR_ID), _CONSTANT)
    kind, name_field, part_fields = _NODES[number]
    inner = _read(_bytes(expr, number))
    name = _text(inner, name_field)
    if number == _STRUCT:
        entries = [_read(entry) for entry in _all_bytes(inner, 2)]
        encoded_parts = [part for one in entries for at in (3, 4) for part in _all_bytes(one, at)]
        kind = "message" if name else "map"
    else:
        encoded_parts = [part for at in part_fields for part in _all_bytes(inner, at)]
    texts = (_text(inner, at) for at in _CONSTANT_TEXTS if number == _CONSTANT and at in inner)
    return Node(
        kind,
        positions.get(_number(expr, _EXPR_ID), 0),
        name,
        next(texts, None),
        tuple(_parse(part, positions) for part in encoded_parts),
        tuple(_text(inner, at) for at in _LOOP_NAMES) if number == _LOOP else (),
    )


def _read(encoded: bytes) -> _Fields:
    """Split a message into its fields: numbers, and bytes for everything longer."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(encoded):
        key, at = _read_number(encoded, at)
        value: int | bytes
        match key & 7:
            case 0:
                value, at = _read_number(encoded, at)
            case 2:
                length, at = _read_number(encoded, at)
                value, at = encoded[at : at + length], at + length
            case width:  # 1: eight bytes, 5: four
                length = 8 if width == 1 else 4
                value, at = encoded[at : at + length], at + length
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _read_number(encoded: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at this byte, and the place after it."""
    number = shift = 0
    while True:
        byte = encoded[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _all_bytes(fields: _Fields, number: int) -> list[bytes]:
    return [one for one in fields.get(number, ()) if isinstance(one, bytes)]


def _bytes(fields: _Fields, number: int) -> bytes:
    return next(iter(_all_bytes(fields, number)), b"")


def _text(fields: _Fields, number: int) -> str:
    return _bytes(fields, number).decode(errors="replace")


def _number(fields: _Fields, number: int) -> int:
    return next((one for one in fields.get(number, ()) if isinstance(one, int)), 0)
