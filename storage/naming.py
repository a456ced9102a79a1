"""Check the names that people give: of people, tokens and teams, of conferences and campaigns.

Such a name stands in lists, logs and the audit trail. So it must look like the text that it is: a
name with an invisible character looks like another one, and one that turns the direction of
writing rearranges the line around it. The names of people and tokens are in the trail as actors,
where a word such as `watch` belongs to Earwitness itself.
"""

import unicodedata

from storage.errors import NameInvalid

LONGEST = 100
# Words of the audit trail that name no person and no token, now or in older entries.
RESERVED = frozenset({
    "api", "callback", "campaign", "command line", "conference", "dialplan", "doctor", "dtmf",
    "earwitness", "link", "media", "people", "program", "programs", "resume_after_s", "rule",
    "rules", "serve", "session", "sign-in", "system", "token", "user", "watch", "work",
})  # fmt: skip
# Before the trail had kinds, the owner of a link was `link 0190…`.
_RESERVED_PREFIX = "link "
# Printable for Unicode, and yet nothing to see: fillers of Hangul and Khmer, the blank of Braille,
# the joiner of graphemes, and the selectors of variants.
_INVISIBLE = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)


def parse_name(text: str) -> str:
    """Return the name in Unicode's form NFC. Raises NameInvalid, which names the fault.

    Example: `parse_name("Jose\\u0301")` is `José`, in four characters.
    """
    name = unicodedata.normalize("NFC", text)
    if not name:
        raise NameInvalid("the name is empty")
    if len(name) > LONGEST:
        raise NameInvalid(f"the name is longer than {LONGEST} characters")
    for character in name:
        if not character.isprintable() or character in _INVISIBLE:
            raise NameInvalid(f"the name contains {_describe(character)}, which nobody can see")
    if name != name.strip():
        raise NameInvalid("the name begins or ends with a space")
    if unicodedata.combining(name[0]):
        raise NameInvalid(f"the name begins with {_describe(name[0])}, which needs a letter before")
    return name


def parse_actor_name(text: str) -> str:
    """Return the name of a person or a token. Raises NameInvalid, also for a reserved word.

    Example: `parse_actor_name("Watch")` raises it.
    """
    name = parse_name(text)
    read_as = unicodedata.normalize("NFKC", name).casefold()
    if read_as in RESERVED or read_as.startswith(_RESERVED_PREFIX):
        raise NameInvalid(f"the name {name!r} is reserved: the audit trail uses it for Earwitness")
    return name


def _describe(character: str) -> str:
    """Return a character in words, because the character itself would harm the message."""
    code = f"U+{ord(character):04X}"
    known = unicodedata.name(character, "")
    return f"{code} ({known.lower()})" if known else f"the control character {code}"
