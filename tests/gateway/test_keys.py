import re
import secrets
import statistics
import time

import pytest

from ssmd.errors import ConfigError
from ssmd.gateway.clients import KeyRecord
from ssmd.gateway.keys import KeyRing, Pepper, admin_key, id_of, make_pepper, mint, read_pepper, write_secret

PEPPER = Pepper(b"p" * 32)


def record(text: str, **more: object) -> KeyRecord:
    return KeyRecord(**({"key_id": id_of(text), "client_id": "bot", "digest": PEPPER.digest(text)} | TIMES | more))


TIMES = {"created_ns": 0, "not_before_ns": 0}


def test_s1_a_key_has_an_id_and_256_random_bits_and_only_a_keyed_hash_is_kept():
    key = mint()
    match = re.fullmatch(r"ssmd_([a-z0-9]{8})_([A-Za-z0-9_-]{43})", key.text)
    assert match is not None
    assert match[1] == key.key_id == id_of(key.text)
    assert len({mint().text for _ in range(100)}) == 100
    digest = PEPPER.digest(key.text)
    assert len(digest) == 32
    assert digest != Pepper(b"q" * 32).digest(key.text)
    shown = f"{key!r} {record(key.text)!r} {PEPPER!r}"
    assert match[2] not in shown
    assert "ppp" not in shown
    assert repr(digest)[2:10] not in shown


def test_s1_a_check_costs_microseconds():
    key = mint()
    ring = KeyRing(PEPPER, [record(key.text)])
    started_s = time.perf_counter()
    for _ in range(1000):
        ring.find(key.text, 1)
    each_s = (time.perf_counter() - started_s) / 1000
    assert each_s < 0.001, f"{each_s * 1e6:.1f} us; a slow hash takes 100 ms"


@pytest.mark.parametrize(
    "text",
    [
        "", "ssmd", "ssmd_", "ssmd_abcdefgh", "ssmd_abcdefgh_", "ssmd_abcdefgh_x", "x" * 100_000, "ssmd_\ud800bcdefgh_x",
        "SSMD_abcdefgh_x", "'; DROP TABLE client; --", "__", "_________x",
    ],
)  # fmt: skip
def test_s2_what_is_no_key_is_nobody(text):
    known = mint()
    assert KeyRing(PEPPER, [record(known.text)]).find(text, 1) is None


def test_s2_a_known_id_with_another_secret_is_nobody():
    key = mint()
    ring = KeyRing(PEPPER, [record(key.text)])
    assert ring.find(key.text, 1) is not None
    assert ring.find(key.text[:-1] + ("A" if key.text[-1] != "A" else "B"), 1) is None
    assert ring.find(f"ssmd_{key.key_id}_{secrets.token_urlsafe(32)}", 1) is None
    assert ring.find(key.text + "x" * 1000, 1) is None


def test_s2_an_unknown_id_is_the_same_work_as_a_known_one():
    known, times = mint(), {"known": [], "unknown": []}
    ring = KeyRing(PEPPER, [record(known.text)])
    tries = {"known": f"ssmd_{known.key_id}_{'x' * 43}", "unknown": f"ssmd_{mint().key_id}_{'x' * 43}"}
    for _ in range(300):  # turn by turn, so that both see the same machine
        for name, text in tries.items():
            started_ns = time.perf_counter_ns()
            for _ in range(10):
                ring.find(text, 1)
            times[name].append(time.perf_counter_ns() - started_ns)
    known_ns, unknown_ns = (statistics.median(values) for values in times.values())
    assert 0.7 < known_ns / unknown_ns < 1.4, f"known {known_ns} ns, unknown {unknown_ns} ns"


def test_s3_a_key_counts_from_its_begin_to_its_end():
    key = mint()
    ring = KeyRing(PEPPER, [record(key.text, not_before_ns=10, expires_ns=20)])
    assert [ring.find(key.text, at) is not None for at in (9, 10, 19, 20)] == [False, True, True, False]


def test_secrets_are_made_for_their_owner_only_and_found_again(tmp_path):
    pepper = make_pepper(tmp_path / "pepper")
    again = read_pepper(tmp_path / "pepper")
    assert again is not None
    assert again.digest("x") == pepper.digest("x")
    key = admin_key(tmp_path / "admin")
    assert admin_key(tmp_path / "admin") == key
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("content", ["", "zz", "ab" * 31])
def test_a_damaged_pepper_is_refused(tmp_path, content):
    write_secret(tmp_path / "pepper", content)
    with pytest.raises(ConfigError, match="pepper"):
        read_pepper(tmp_path / "pepper")


def test_a_secret_that_everybody_may_read_is_refused(tmp_path):
    make_pepper(tmp_path / "pepper")
    (tmp_path / "pepper").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_pepper(tmp_path / "pepper")
