"""The commands of the README's way to an own environment, typed as they stand there in a fresh clone."""

import re
import shlex

import pytest

from tests.cli.commands import ssmd
from tests.docs.transcript import ROOT, clone

COMMAND = re.compile(r"^ssmd ((?:env|feed|symbol|client) .*?)(?:\s{2,}#.*)?$", re.MULTILINE)
INLINE = re.compile(r"`ssmd (env apply \w+)`")


@pytest.mark.slow
def test_the_way_to_an_own_environment_works_as_written(tmp_path, monkeypatch):
    clone(tmp_path)
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text()
    commands = [*COMMAND.findall(readme), *INLINE.findall(readme)]
    assert [shlex.split(words)[:2] for words in commands] == [
        ["env", "create"],
        ["feed", "add"],
        ["env", "validate"],
        ["env", "apply"],
    ]
    for words in commands:
        done = ssmd(*shlex.split(words), XDG_CACHE_HOME=str(tmp_path / ".git" / "cache"))
        assert done.returncode == 0, f"ssmd {words}: {done.stderr}"
    status = ssmd("env", "status", "mine")
    assert status.returncode == 0, status.stdout
