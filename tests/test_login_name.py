"""Who is noted when a user has no name, as in a container that runs as a bare number."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from sorbus.cli.login import login_name

_NAMED = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_a_user_with_a_name_is_noted_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _NAMED:
        monkeypatch.delenv(name, raising=False)
    assert login_name() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setenv("LOGNAME", "mara")
    assert login_name() == "mara"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_user_without_a_name_is_noted_by_number() -> None:
    ask = "import os; os.setuid(54321); from sorbus.cli.login import login_name; print(login_name())"
    # Imported before, since the other user may not read a checkout under /root.
    program = ask.replace("import os;", "import os, getpass, sorbus.cli.login;")
    env = {name: value for name, value in os.environ.items() if name not in _NAMED}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "uid 54321\n"
