"""The Asterisk root: its directory, and that it is made once."""

import os
from pathlib import Path

import pytest

from lab.root import LabError, ensure_root, root_directory


def test_default_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is kept in the repository's ignored cache, one for each suite."""
    monkeypatch.delenv("EARWITNESS_LAB_ROOT", raising=False)
    assert root_directory().parts[-2:] == (".cache", "asterisk-sid")
    assert root_directory("bullseye").name == "asterisk-bullseye"


def test_chosen_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment can choose another directory; another suite gets one beside it."""
    monkeypatch.setenv("EARWITNESS_LAB_ROOT", str(tmp_path / "root"))
    assert root_directory() == tmp_path / "root"
    assert root_directory("bullseye") == tmp_path / "root-bullseye"


def test_ready_root_is_left_alone(tmp_path: Path) -> None:
    """A root with an Asterisk in it is returned unchanged."""
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/asterisk").touch()
    assert ensure_root(tmp_path) == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["usr"]


def test_without_root_rights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user other than root gets an error of one line, and nothing is made."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"needs root \(chroot\)$"):
        ensure_root(tmp_path / "root")
    assert list(tmp_path.iterdir()) == []
