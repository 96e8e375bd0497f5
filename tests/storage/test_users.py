import os
import pwd

import pytest

from muster.storage.users import user_at_host


def test_the_user_is_whom_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "root\nforged")
    user, _, host = user_at_host().partition("@")
    assert user == pwd.getpwuid(os.getuid()).pw_name
    assert host


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_at_host().startswith(f"{os.getuid()}@")
