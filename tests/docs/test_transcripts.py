"""What the documents show is what the commands say."""

import difflib
import sys
import time
from pathlib import Path

import pytest

from tests.cli.commands import is_alive
from tests.docs import transcript
from tests.docs.transcript import ROOT, Step, blocks, clone, normalized, replay, steps, written

REPLAYED = ("environments.md",)


@pytest.mark.slow
@pytest.mark.parametrize("name", REPLAYED)
def test_every_session_of_a_document_happens_as_it_is_written(tmp_path, name):
    document = ROOT / "docs" / name
    clone(tmp_path)
    text = document.read_text()
    now = written(replay(document, tmp_path), text)
    difference = "\n".join(
        difflib.unified_diff(text.splitlines(), now.splitlines(), "the document", "what was said", lineterm="", n=4)
    )
    assert not difference, f"`python -m tests.docs.transcript docs/{name}` takes it over:\n{difference}"


# the parsing -------------------------------------------------------------------------------------------------

DOCUMENT = """\
Text with `$ no session`.

```console
$ one "$ two"
said
  --> more
$ silent
$ last
the end
```

```sh
$ not replayed
```

```console
$ true
```
"""


def test_a_session_is_its_commands_each_with_what_follows():
    assert blocks(DOCUMENT) == [
        [Step('one "$ two"', "said\n  --> more\n"), Step("silent", ""), Step("last", "the end\n")],
        [Step("true", "")],
    ]


def test_a_line_before_the_first_command_is_an_error():
    with pytest.raises(ValueError, match="begins with"):
        steps("said by nobody\n$ true\n")


def test_what_was_said_takes_the_place_of_what_is_written():
    said = [[Step('one "$ two"', "a\\1\n"), Step("silent", ""), Step("last", "")], [Step("true", "b\n")]]
    now = written(said, DOCUMENT)
    assert blocks(now) == said
    assert written(blocks(DOCUMENT), DOCUMENT) == DOCUMENT
    assert now.replace("```", "").startswith("Text with `$ no session`.")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("git: 2 files committed as 0123abcdef  \n", "git: 2 files committed as 1a2b3c4\n"),
        ("connector kraken@my-host_0-a1b2c3 runs\n", "connector kraken@host-0a1b2c runs\n"),
        ("after 12.70 s\n", "after 0.30 s\n"),
        ("no end", "no end\n"),
        ("", ""),
    ],
)
def test_what_is_another_every_time_is_written_in_one_way(said, written):
    assert normalized(said) == written


# the replay --------------------------------------------------------------------------------------------------


def document_of(tmp_path: Path, *commands: str) -> Path:
    (tmp_path / ".git").mkdir(exist_ok=True)
    document = tmp_path / "document.md"
    document.write_text("```console\n" + "".join(f"$ {command}\n" for command in commands) + "```\n")
    return document


def test_the_commands_share_one_shell(tmp_path):
    document = document_of(tmp_path, "word=two", "echo one; echo $word", "echo bad >&2", "printf no-end")
    (said,) = replay(document, tmp_path)
    assert [step.output for step in said] == ["", "one\ntwo\n", "bad\n", "no-end"]


@pytest.mark.slow
def test_whatever_happens_no_process_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(transcript, "WITHIN_S", 1.0)
    pid = tmp_path / "pid"
    began_s = time.monotonic()
    document = document_of(tmp_path, f"sleep 60 & echo $! > {pid}", "echo here; sleep 60", "echo never")
    (said,) = replay(document, tmp_path)
    assert "here\n" in said[1].output
    assert "[no end within 1 s]" in said[1].output
    assert said[2].output == ""
    assert not is_alive(int(pid.read_text()))
    assert time.monotonic() - began_s < 20


@pytest.mark.slow
def test_the_sessions_are_replayed_with_this_python_s_ssmd(tmp_path):
    (said,) = replay(document_of(tmp_path, "command -v ssmd", "echo ${SSMD_ENV-none} $HOME"), tmp_path)
    assert said[0].output == f"{Path(sys.executable).parent / 'ssmd'}\n"
    assert said[1].output == f"none {tmp_path / '.git'}\n"
