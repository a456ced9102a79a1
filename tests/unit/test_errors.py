"""The error trees in the docstrings of the modules that define errors."""

import inspect
import re
from types import ModuleType

import pytest

import api.errors
import recorder.ari.errors
import recorder.errors
import storage.errors
import storage.objects.errors

MODULES = (
    api.errors,
    recorder.errors,
    recorder.ari.errors,
    storage.errors,
    storage.objects.errors,
)


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__)
def test_the_tree_lists_every_error(module: ModuleType) -> None:
    """The docstring draws each error that the module defines; others name their own module."""
    defined = {
        name
        for name, one in vars(module).items()
        if inspect.isclass(one) and issubclass(one, Exception) and one.__module__ == module.__name__
    }
    drawn = set(re.findall(r"[├└]── (\w+)\b(?! \()", module.__doc__ or ""))
    assert defined - {"EarwitnessError", "AriError"} == drawn
