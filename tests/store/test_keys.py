from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES, is_symbol, is_token
from ssmd.store import key_rules, keys
from ssmd.store.keys import NormalizedKey, QualityKey, RawKey

MINUTE_NS = 1765029600_000_000_000  # 2025-12-06T14:00Z
END_MINUTES = 4_223_371_680  # 10000-01-01

tokens = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
symbols = st.from_regex(r"[A-Z0-9_-]{1,32}", fullmatch=True)
minutes_ns = st.integers(0, END_MINUTES - 1).map(lambda minute: minute * NS_PER_MINUTE)
parts = st.integers(0, 99)
kinds = st.sampled_from(["trade", "quote", "book"])


def test_keys_are_those_of_the_contract():
    raw = RawKey("kraken", MINUTE_NS + 7 * NS_PER_MINUTE, 1)
    assert raw.key == "raw/kraken/2025/12/06/14/01-07.jsonl.zst"
    assert raw.manifest == "raw/kraken/2025/12/06/14/01-07.manifest.json"
    first = NormalizedKey("v1", "kraken", "trade", "BTCUSD", MINUTE_NS)
    assert first.key == "normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.capnp.zst"
    late = NormalizedKey("v1", "kraken", "trade", "BTCUSD", MINUTE_NS, 1)
    assert late.key == "normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.p01.capnp.zst"


@given(tokens, minutes_ns, parts)
def test_raw_keys_come_back(feed, minute_ns, part):
    name = RawKey(feed, minute_ns, part)
    assert RawKey.parse(name.key) == RawKey.parse_manifest(name.manifest) == name
    assert key_rules.check_key(name.key)
    for prefix in (
        keys.raw_prefix(feed),
        keys.raw_day_prefix(feed, minute_ns),
        keys.raw_hour_prefix(feed, minute_ns + NS_PER_MINUTE - 1),
    ):
        assert name.key.startswith(key_rules.check_prefix(prefix))
        assert name.manifest.startswith(prefix)


@given(tokens, tokens, kinds, symbols, minutes_ns, parts)
def test_normalized_keys_come_back(version, feed, kind, symbol, minute_ns, part):
    name = NormalizedKey(version, feed, kind, symbol, minute_ns, part)
    assert NormalizedKey.parse(name.key) == name
    assert key_rules.check_key(name.key)
    for prefix in (
        name.minute_prefix,
        keys.normalized_prefix(version, feed),
        keys.normalized_prefix(version, feed, kind),
        keys.normalized_prefix(version, feed, kind, symbol),
        keys.normalized_day_prefix(version, feed, kind, symbol, minute_ns + 1),
    ):
        assert name.key.startswith(key_rules.check_prefix(prefix))


def test_a_prefix_of_one_feed_or_symbol_never_covers_another():
    assert not RawKey("kraken2", MINUTE_NS).key.startswith(keys.raw_prefix("kraken"))
    other = NormalizedKey("v1", "kraken", "trade", "BTCUSDT", MINUTE_NS)
    assert not other.key.startswith(keys.normalized_prefix("v1", "kraken", "trade", "BTCUSD"))
    later = NormalizedKey("v1", "kraken", "trade", "BTCUSD", MINUTE_NS + NS_PER_MINUTE)
    assert not later.key.startswith(NormalizedKey("v1", "kraken", "trade", "BTCUSD", MINUTE_NS).minute_prefix)


@given(st.text())
@example("..")
@example("a/b")
@example("a\n")
@example("")
@example("md.>")
@example("\u0661")
def test_a_key_holds_a_token_or_is_refused(text):
    makers = [
        (is_token, lambda: RawKey(text, MINUTE_NS).key),
        (is_token, lambda: keys.raw_hour_prefix(text, MINUTE_NS)),
        (is_token, lambda: NormalizedKey(text, "f", "book", "S", MINUTE_NS).key),
        (is_token, lambda: NormalizedKey("v", text, "book", "S", MINUTE_NS).key),
        (lambda kind: kind in EVENT_TYPES, lambda: NormalizedKey("v", "f", text, "S", MINUTE_NS).key),
        (is_symbol, lambda: NormalizedKey("v", "f", "book", text, MINUTE_NS).key),
        (is_symbol, lambda: keys.normalized_prefix("v", "f", "book", text)),
    ]
    for allowed, make in makers:
        if allowed(text):
            assert text in make().split("/")
        else:
            with pytest.raises(ValueError, match="allowed"):
                make()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RawKey("f", MINUTE_NS + 1),
        lambda: RawKey("f", -NS_PER_MINUTE),
        lambda: RawKey("f", END_MINUTES * NS_PER_MINUTE),
        lambda: RawKey("f", MINUTE_NS, 100),
        lambda: RawKey("f", MINUTE_NS, -1),
        lambda: NormalizedKey("v", "f", "book", "S", MINUTE_NS, 100),
        lambda: keys.raw_day_prefix("f", -1),
    ],
)
def test_a_time_or_part_that_no_key_can_hold_is_refused(wrong):
    with pytest.raises(ValueError, match=r"minute|allowed"):
        wrong()


@given(st.text())
@example("raw/kraken/2025/12/06/14/00-00.jsonl.zst\n")
@example("raw/../2025/12/06/14/00-00.jsonl.zst")
@example("raw/kraken/2025/13/06/14/00-00.jsonl.zst")
@example("raw/kraken/2025/02/30/14/00-00.jsonl.zst")
@example("raw/kraken/2025/12/06/24/00-00.jsonl.zst")
@example("raw/kraken/2025/12/06/14/00-60.jsonl.zst")
@example("raw/kraken/0000/12/06/14/00-00.jsonl.zst")
@example("raw/kraken/1969/12/06/14/00-00.jsonl.zst")
@example("raw/kraken/2025/12/06/14/0-00.jsonl.zst")
@example("raw/kraken/２025/12/06/14/00-00.jsonl.zst")  # noqa: RUF001  a digit, but not ours
@example("raw/kraken/2025/12/06/14/00-00.manifest.jsonx")
@example("/raw/kraken/2025/12/06/14/00-00.jsonl.zst")
@example("normalized/v1/kraken/trade/btc/2025/12/06/14-00.capnp.zst")
@example("normalized/v1/kraken/trades/BTCUSD/2025/12/06/14-00.capnp.zst")
@example("normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.p00.capnp.zst")
@example("normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.p1.capnp.zst")
@example("normalized/v1/kraken/trade/../2025/12/06/14-00.capnp.zst")
def test_any_other_text_is_no_key(text):
    for parse in (RawKey.parse, RawKey.parse_manifest, NormalizedKey.parse):
        with pytest.raises(BadRecord):
            parse(text)


def test_an_object_and_its_manifest_are_not_taken_for_each_other():
    name = RawKey("kraken", MINUTE_NS)
    with pytest.raises(BadRecord):
        RawKey.parse(name.manifest)
    with pytest.raises(BadRecord):
        RawKey.parse_manifest(name.key)


@given(st.text(st.sampled_from("a/.-_A0#%\\~ \n\0é*")))
@example("a/../b")
@example("../a")
@example("a//b")
@example("/a")
@example("a/")
@example(".hidden")
@example("a/.b")
@example("a..b")
@example("C:\\x")
@example("a#1")
@example("a%2e%2e/b")
def test_a_key_is_a_path_below_the_root_or_refused(key):
    try:
        key_rules.check_key(key)
    except ValueError:
        return
    path = PurePosixPath("/root") / key
    assert str(path) == f"/root/{key}"
    assert not {"..", ".", ""} & set(key.split("/"))


@pytest.mark.parametrize("prefix", ["..", "a/../", "/", "//", "a//", ".a", "a/.", "a b", "a/..b"])
def test_a_prefix_that_no_key_has_is_refused(prefix):
    with pytest.raises(ValueError, match="key"):
        key_rules.check_prefix(prefix)


@given(tokens, tokens, minutes_ns, parts)
def test_ledger_keys_come_back_and_name_their_raw_object(version, feed, minute_ns, part):
    raw = RawKey(feed, minute_ns, part)
    name = QualityKey.of(version, raw)
    assert QualityKey.parse(name.key) == name
    assert name.raw == raw
    assert key_rules.check_key(name.key)
    assert name.key.startswith(key_rules.check_folder(keys.quality_prefix(version, feed)))
    assert name.key.startswith(keys.day_prefix(keys.quality_prefix(version, feed), minute_ns))


def test_ledger_keys_look_like_this_and_nothing_else_is_one():
    assert QualityKey("v1", "kraken", MINUTE_NS).key == "quality/v1/kraken/2025/12/06/14-00.json"
    assert QualityKey("v1", "kraken", MINUTE_NS, 2).key == "quality/v1/kraken/2025/12/06/14-00.p02.json"
    for text in ("14-00.p00.json", "14-60.json", "24-00.json", "14-00.p1.json", "14-00.json.new"):
        with pytest.raises(BadRecord):
            QualityKey.parse(f"quality/v1/kraken/2025/12/06/{text}")
    with pytest.raises(ValueError, match="version"):
        QualityKey("v1/..", "kraken", MINUTE_NS)


@given(tokens, tokens, minutes_ns)
def test_the_mark_of_a_short_minute_stands_beside_its_records_and_is_none(version, feed, minute_ns):
    name = keys.ShortfallKey(version, feed, minute_ns)
    assert keys.ShortfallKey.parse(name.key) == name
    assert key_rules.check_key(name.key)
    assert name.key.startswith(keys.day_prefix(keys.quality_prefix(version, feed), minute_ns))
    with pytest.raises(BadRecord):
        QualityKey.parse(name.key)
    for other in (QualityKey(version, feed, minute_ns).key, name.key.replace(".short.", ".p01.short.")):
        with pytest.raises(BadRecord):
            keys.ShortfallKey.parse(other)
