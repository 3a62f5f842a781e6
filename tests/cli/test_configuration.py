"""`ssmd config`: what is in force and from where; secrets are never shown."""

import json

import pytest

from ssmd.settings import Settings, without_passwords

CANARY = "canary-5d1"


def test_every_setting_has_its_origin(ask, project, monkeypatch):
    (project.folder / "ssmd.toml").write_text('[nats]\nurl = "nats://here:4222"\n[journal]\nflush_ms = 20\n')
    monkeypatch.setenv("SSMD_JOURNAL_FLUSH_MS", "30")
    rows = {row["key"]: row for row in json.loads(ask("config", "show", "--origin", "-o", "json").out)}
    assert rows["nats.url"] == {"key": "nats.url", "value": "nats://here:4222", "origin": "ssmd.toml"}
    assert rows["journal.flush_ms"]["origin"] == "SSMD_JOURNAL_FLUSH_MS"
    assert rows["journal.flush_ms"]["value"] == "30"
    assert rows["journal.fsync_ms"]["origin"] == "default"
    assert {key.split(".")[0] for key in rows} == set(Settings.__struct_fields__)
    assert "origin" not in ask("config", "show").out.splitlines()[0]


def test_the_settings_file_is_named(ask, project, tmp_path):
    assert ask("config", "path").code == 1
    (project.folder / "ssmd.toml").touch()
    assert ask("config", "path").out == f"{project.folder / 'ssmd.toml'}\n"
    other = tmp_path / "other.toml"
    other.touch()
    assert ask("config", "path", "--config", str(other)).out == f"{other}\n"


def test_a_wrong_setting_is_two_with_a_way_out(ask, project, monkeypatch):
    monkeypatch.setenv("SSMD_NATS_URK", "x")
    done = ask("config", "show")
    assert (done.code, done.out, done.err) == (2, "", "error: settings: unknown key nats.urk; did you mean url?\n")


@pytest.mark.parametrize("format", ["table", "json", "yaml", "ndjson", "csv", "name"])
def test_no_secret_is_shown_in_any_format(ask, project, monkeypatch, format):  # noqa: A002
    secret = project.folder / "secret"
    secret.write_text(CANARY)
    monkeypatch.setenv("SSMD_STORAGE_SECRET_ACCESS_KEY_FILE", str(secret))
    monkeypatch.setenv("SSMD_STORAGE_ACCESS_KEY_ID", CANARY)
    monkeypatch.setenv("SSMD_NATS_URL", f"nats://{CANARY}:{CANARY}@127.0.0.1:1,nats://{CANARY}@127.0.0.1:2")
    words = [
        ("config", "show", "--origin", "-o", format),
        ("env", "status", "dev", "-o", format),
        ("doctor", "--only", "settings,nats", "-o", format, "--env", "dev"),
    ]
    said = "".join(done.out + done.err for done in (ask(*each) for each in words))
    assert CANARY not in said
    assert ("***" in said) == (format != "name")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://u:p@h:4222", "nats://***@h:4222"),
        ("cannot reach tls://u:p/q@h, try http://h/x@y", "cannot reach tls://***@h, try http://h/x@y"),
        ("nats://token@h,nats://u:p@i", "nats://***@h,nats://***@i"),
        ("nats://h:4222", "nats://h:4222"),
        ("write to me@example.org", "write to me@example.org"),
    ],
)
def test_a_url_for_people_has_no_user_and_password(text, shown):
    assert without_passwords(text) == shown
