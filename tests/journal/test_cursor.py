from pathlib import Path

from ssmd.journal import Checkpoints, Cursor, Position


def test_a_cursor_is_found_again(tmp_path: Path):
    cursor = Cursor(tmp_path)
    assert cursor.position is None
    cursor.advance(Position("a", 10))
    cursor.save()
    assert Cursor(tmp_path).position == Position("a", 10)


def test_a_cursor_never_moves_back(tmp_path: Path):
    cursor = Cursor(tmp_path)
    cursor.advance(Position("b", 5))
    cursor.advance(Position("a", 900))
    assert cursor.position == Position("b", 5)


def test_an_unreadable_cursor_costs_a_replay_not_a_crash(tmp_path: Path):
    (tmp_path / "cursor.json").write_bytes(b"\x00garbage")
    assert Cursor(tmp_path).position is None


def test_checkpoints_before_the_cursor_are_removed_but_one_in_reserve(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    for name in ("20251206T1359-0000.jsonl", "20251206T1400-0000.jsonl", "20251206T1401-0000.jsonl"):
        checkpoints.save(name, name.encode())
    checkpoints.prune("20251206T1401-0000.jsonl")
    assert checkpoints.load("20251206T1359-0000.jsonl") is None
    assert checkpoints.segments("20251206T1401-0000.jsonl") == ["20251206T1401-0000.jsonl", "20251206T1400-0000.jsonl"]
