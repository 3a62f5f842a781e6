from ssmd.protocols.trade_ids import KEPT, TradeIds


def test_an_id_is_new_once():
    ids = TradeIds()
    assert ids.add("7")
    assert not ids.add("7")
    assert ids.add("8")


def test_memory_is_bounded_and_the_oldest_id_goes_first():
    ids = TradeIds()
    for number in range(10 * KEPT):
        assert ids.add(str(number))
    assert len(ids.state().recent) == KEPT
    assert not ids.add(str(9 * KEPT))
    assert ids.add(str(9 * KEPT - 1))


def test_integer_ids_that_jump_are_noticed():
    ids = TradeIds()
    jumps = []
    for trade_id in ("5", "6", "9", "7", "10", "abc", "11", "13"):
        ids.add(trade_id)
        jumps.append(ids.jumped)
    assert jumps == [False, False, True, False, False, False, False, True]


def test_ids_of_any_length_are_remembered_and_only_reasonable_integers_compared():
    ids = TradeIds()
    assert ids.add("9" * 5000)
    assert not ids.add("9" * 5000)
    assert ids.add("²")
    assert not ids.jumped


def test_ids_go_on_from_a_saved_state():
    ids = TradeIds()
    for number in range(KEPT + 5):
        ids.add(str(number))
    again = TradeIds(ids.state())
    assert not again.add(str(KEPT))
    assert again.add("0")
    assert again.add(str(KEPT + 9))
    assert again.jumped
