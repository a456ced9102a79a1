"""The masked CSRF token."""

import pytest

from api.csrf import is_csrf, mask_csrf

TOKEN = "Zx8-abc_123"


def test_each_page_has_another_form() -> None:
    """Every form stands for the token, and no two are the same."""
    forms = {mask_csrf(TOKEN) for _ in range(20)}
    assert len(forms) == 20
    assert all(is_csrf(form, TOKEN) for form in forms)
    assert not any(TOKEN in form or TOKEN.encode().hex() in form for form in forms)


@pytest.mark.parametrize("given", ["", ".", "00.", "zz.zz", "00.0000", "plain", "é", "6f.00"])
def test_anything_else_is_not_the_token(given: str) -> None:
    """Text of other forms, and forms of other tokens, are refused."""
    assert not is_csrf(given, TOKEN)


def test_the_plain_token_is_the_token() -> None:
    """A client that knows the session may send the token as it is."""
    assert is_csrf(TOKEN, TOKEN)
    assert mask_csrf("") == ""
