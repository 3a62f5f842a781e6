from ssmd.journal import BorrowedCheckpoints, Checkpoints


def test_its_own_come_first_and_the_lenders_are_adapted_and_never_touched(tmp_path):
    lender = Checkpoints(tmp_path)
    own = BorrowedCheckpoints(tmp_path / "candidate/v2", lender, lambda state: b"adapted " + state)
    for segment in ("a", "b", "c"):
        lender.save(segment, segment.encode())
    own.save("b", b"own b")
    assert own.segments("c") == ["c", "b", "a"]
    assert own.segments("b") == ["b", "a"]
    assert [own.load(segment) for segment in ("a", "b", "c", "d")] == [b"adapted a", b"own b", b"adapted c", None]
    own.prune("c")
    assert own.load("b") == b"adapted b"
    assert lender.segments("c") == ["c", "b", "a"]
