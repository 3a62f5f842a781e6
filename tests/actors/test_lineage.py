from ssmd.actors.lineage import Lineage, slot_of
from ssmd.model import is_token
from ssmd.records import Predecessor

BOOT_NS = 1_765_029_600_000_000_000


def test_names_are_unique_over_slots_connections_and_boots():
    names = [
        lineage.begin(slot).conn
        for lineage in (Lineage(BOOT_NS), Lineage(BOOT_NS + 1_000_000))
        for slot in (0, 1, 0, 1)
    ]
    assert len(set(names)) == 8
    assert all(map(is_token, names))
    assert [slot_of(name) for name in names[:4]] == [0, 1, 0, 1]


def test_a_connection_names_the_one_before_in_its_slot():
    lineage = Lineage(BOOT_NS)
    first = lineage.begin(0)
    assert [first.take_seq() for _ in range(3)] == [0, 1, 2]
    first.last_ns = 77
    lineage.begin(1).take_seq()
    assert lineage.begin(0).after == Predecessor(first.conn, 2, 77)


def test_a_connection_without_any_record_is_skipped():
    lineage = Lineage(BOOT_NS)
    first = lineage.begin(0)
    first.take_seq()
    lineage.begin(0)
    assert lineage.begin(0).after == Predecessor(first.conn, 0, 0)
