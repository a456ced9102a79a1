"""The syntax tree of a condition, as the CEL library writes it."""

import pytest
from cel_expr_python import cel

from recorder.rules.syntax import Node, iter_nodes, parse_tree

ENV = cel.NewEnv(
    variables={
        "did": cel.Type.STRING,
        "variables": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    }
)


def tree_of(when: str) -> Node:
    return parse_tree(ENV.compile(when).serialize())


def outline(node: Node) -> str:
    """Return a node and its parts as one text."""
    own = repr(node.text) if node.text is not None else node.name or node.kind
    return f"{own}({', '.join(outline(part) for part in node.parts)})" if node.parts else own


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ('did == "é"', "_==_(did, 'é')"),
        ('did.matches("a+") && true', "_&&_(matches(did, 'a+'), constant)"),
        ('has(variables.VIP) || variables["X"] == ""', None),
        ("[1, 2].size() == -5", "_==_(size(list(constant, constant)), constant)"),
        ('{"a": did, "b": "c"}["a"] == did', "_==_(_[_](map('a', did, 'b', 'c'), 'a'), did)"),
        ('b"ab" == b"c" && 1.5 > 0.5', "_&&_(_==_('ab', 'c'), _>_(constant, constant))"),
        ("[].size() == 0", "_==_(size(list), constant)"),
        (
            "google.protobuf.Int64Value{value: 7} == 7",
            "_==_(google.protobuf.Int64Value(constant), constant)",
        ),
    ],
)
def test_trees(when: str, expected: str | None) -> None:
    """Each node has its name, its text and its parts in order."""
    if expected is None:
        expected = "_||_(VIP(variables), _==_(_[_](variables, 'X'), ''))"
    assert outline(tree_of(when)) == expected


def test_a_loop() -> None:
    """A loop has its range, first value, condition, step and result, and its names."""
    loop = tree_of("variables.all(name, name == did)")
    assert loop.kind == "loop"
    assert loop.names[0] == "name"
    assert loop.names[2] == loop.parts[4].name
    assert outline(loop.parts[0]) == "variables"
    assert "_==_(name, did)" in outline(loop.parts[3])


def test_positions() -> None:
    """A position counts characters, not bytes."""
    found = {
        one.name: one.position for one in iter_nodes(tree_of('"é" == did || "éé" + did == ""'))
    }
    assert found["did"] == 21
    assert found["_+_"] == 19
    assert found["_||_"] == 11
