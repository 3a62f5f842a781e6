import pytest

from ssmd.errors import BadRecord
from ssmd.store.key_rules import check_key
from ssmd.store.keys import MinuteKey, NormalizedKey, RangeKey, hold_key
from tests.reprocess.world import START_NS

DAY_NS = 86_400 * 10**9


def test_the_keys_of_a_reprocess_are_those_of_its_documentation_and_come_back():
    minute = MinuteKey("v2", "kraken", START_NS)
    span = RangeKey("v2", "kraken", START_NS, START_NS + DAY_NS)
    assert minute.key == "normalized/v2/kraken/minutes/2025/12/06/14-00.json"
    assert span.key == "normalized/v2/kraken/ranges/20251206T1400Z-20251207T1400Z.json"
    assert hold_key("reprocess-v2-kraken") == "holds/reprocess-v2-kraken.json"
    assert (MinuteKey.parse(minute.key), RangeKey.parse(span.key)) == (minute, span)
    assert check_key(minute.key) + check_key(span.key)


@pytest.mark.parametrize(
    "wrong",
    [
        "normalized/v2/kraken/minutes/2025/13/06/14-00.json",
        "normalized/v2/kraken/minutes/2025/12/06/14-00.capnp.zst",
        "normalized/v2/kraken/ranges/20251207T1400Z-20251206T1400Z.json",
        "normalized/v2/kraken/ranges/20251299T1400Z-20251206T1400Z.json",
    ],
)
def test_any_other_text_is_none(wrong):
    for kind in (MinuteKey, RangeKey, NormalizedKey):
        with pytest.raises(BadRecord):
            kind.parse(wrong)


def test_a_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="not after its start"):
        RangeKey("v2", "kraken", START_NS, START_NS)
