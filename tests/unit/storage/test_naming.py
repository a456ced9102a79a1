"""The names that people give: they look like the text that they are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import actors
from storage.errors import NameInvalid
from storage.naming import RESERVED, parse_actor_name, parse_name


@pytest.mark.parametrize(
    "name",
    ["ann", "2001", "Zoë Ångström", "O'Neil & Söhne", "محمد", "山田太郎", "a" * 100, "-", "👩"],
)
def test_a_usual_name(name: str) -> None:
    """A name that people can read stays as it is, in any script."""
    assert parse_actor_name(name) == name


def test_a_name_in_another_form() -> None:
    """Keyboards compose a letter differently, so one name has one form."""
    assert parse_name("Jose\u0301") == "José"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("a" * 101, "longer than 100 characters"),
        (" ann", "begins or ends with a space"),
        ("ann ", "begins or ends with a space"),
        ("\u0301ann", r"begins with U\+0301"),
        ("a\nb", r"the control character U\+000A"),
        ("a\0b", r"the control character U\+0000"),
        ("a\x85b", r"the control character U\+0085"),
        ("a\u2028b", r"U\+2028 \(line separator\)"),
        ("a\u2029b", r"U\+2029 \(paragraph separator\)"),
        ("a\u00a0b", r"U\+00A0 \(no-break space\)"),
        *(
            (f"a{chr(code)}b", rf"U\+{code:04X} \(")
            for code in (
                *(0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069),
                *(0x200E, 0x200F, 0x061C, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD),
                *(0x034F, 0x3164, 0x2800, 0xFE0F, 0xE0041),
            )
        ),
        ("a\ud800b", r"U\+D800"),
    ],
)
def test_a_name_that_hides_something(name: str, reason: str) -> None:
    """The refusal says in plain words which character it is, and does not repeat it."""
    with pytest.raises(NameInvalid, match=reason) as refused:
        parse_name(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        *("rules", "rule", "dialplan", "link", "system", "watch", "work", "api", "media"),
        *("earwitness", "command line", "Watch", "RULES", "\uff57\uff41tch", "sign-in"),
        "link 01900000-0000-7000-8000-000000000000",
    ],
)
def test_a_reserved_word(name: str) -> None:
    """No person and no token is named like a part of the program, however it is written."""
    with pytest.raises(NameInvalid, match="reserved"):
        parse_actor_name(name)
    assert parse_name(name)


@pytest.mark.parametrize("name", ["rules of ann", "watchman", "linkman", "dialplan main", "apis"])
def test_a_longer_name_with_a_reserved_word(name: str) -> None:
    """A word that only begins like a reserved one is free."""
    assert parse_actor_name(name) == name


def test_the_systems_own_actors_are_reserved() -> None:
    """Nobody can be named like an actor of the program itself."""
    own = {actors.WATCH, actors.WORK, actors.COMMAND_LINE, actors.SIGN_IN, actors.RULES}
    assert {one.name for one in own} <= RESERVED


@given(st.text(max_size=20))
def test_any_text(text: str) -> None:
    """Any text is refused, or becomes a name that is safe in one line and stays as it is."""
    try:
        name = parse_name(text)
    except NameInvalid:
        return
    assert parse_name(name) == name
    assert name.strip() == name
    assert not {unicodedata.category(one) for one in name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
