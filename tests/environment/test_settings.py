"""Settings have their own file in the package; what they and an environment promise is tested side by side."""

from pathlib import Path

import pytest

from ssmd.errors import ConfigError
from ssmd.settings import ExchangeSettings, Settings, load, parse_size

NO_FILE = Path("/dev/null")


def test_without_anything_the_defaults_hold():
    assert load(NO_FILE, {}) == Settings()
    assert Settings().journal.flush_ms == 50
    assert Settings().journal.fsync_ms == 1000


def test_a_variable_beats_the_file_and_the_file_the_default(tmp_path):
    file = tmp_path / "ssmd.toml"
    file.write_text('[nats]\nurl = "nats://file:4222"\n[journal]\nflush_ms = 20\n')
    settings = load(file, {"SSMD_NATS_URL": "nats://variable:4222", "SSMD_OPS_PORT": "9100"})
    assert (settings.nats.url, settings.journal.flush_ms, settings.ops.port) == ("nats://variable:4222", 20, 9100)
    assert settings.nats.stream == "marketdata"


def test_the_file_of_the_working_folder_is_read_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == Settings()
    (tmp_path / "ssmd.toml").write_text('[kraken]\nws_url = "ws://here"\n')
    assert load(None, {}).kraken == ExchangeSettings(ws_url="ws://here")


def test_other_variables_of_ours_and_of_others_are_left_alone():
    assert load(NO_FILE, {"SSMD_ENV": "dev", "SSMD_TEST_SEED": "1", "PATH": "/bin", "SSMD_NATS": "x"}) == Settings()


def test_a_secret_comes_from_a_file_and_never_stands_in_an_error(tmp_path):
    canary = "canary-7f3"
    secret = tmp_path / "secret"
    secret.write_text(canary + "\n")
    variables = {"SSMD_STORAGE_SECRET_ACCESS_KEY_FILE": str(secret)}
    assert load(NO_FILE, variables).storage.secret_access_key == canary
    with pytest.raises(ConfigError) as caught:
        load(NO_FILE, variables | {"SSMD_STORAGE_REGIN": "x"})
    assert canary not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[nots]\n", "unknown section [nots]; did you mean nats?"),
        ('[nats]\nurk = "x"\n', "unknown key nats.urk; did you mean url?"),
        ("[journal]\nflush_ms = 0\n", "flush_ms"),
        ('[journal]\nflush_ms = "soon"\n', "flush_ms"),
        ("[ops]\nport = 70000\n", "65535"),
        ('stream = "x"\n', "stands outside of a [section]"),
        ("[nats\n", "is not TOML"),
        ('[storage]\nsecret_access_key_file = "/nosuch"\n', "names /nosuch, which cannot be read"),
    ],
)
def test_anything_wrong_says_what_and_how_to_mend_it(tmp_path, toml, said):
    file = tmp_path / "ssmd.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00"])
def test_a_file_that_is_no_text_is_refused(tmp_path, content):
    file = tmp_path / "ssmd.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is not TOML"):
        load(file, {})


def test_a_file_that_was_named_must_be_there():
    with pytest.raises(ConfigError, match="/nosuch cannot be read: No such file"):
        load(Path("/nosuch"), {})


@pytest.mark.parametrize(
    ("text", "size"), [("10GB", 10**10), ("500 MB", 5 * 10**8), ("1.5kb", 1500), ("7", 7), ("2TB", 2 * 10**12)]
)
def test_sizes_are_powers_of_ten(text, size):
    assert parse_size(text, "journal.max_bytes") == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "10 apples", "1e3", "10GiB"])
def test_another_size_is_refused_with_the_key(text):
    with pytest.raises(ConfigError, match=r"journal\.max_bytes is .*for example 10GB"):
        parse_size(text, "journal.max_bytes")
