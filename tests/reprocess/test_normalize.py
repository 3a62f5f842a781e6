from ssmd.protocols import exchange
from ssmd.protocols.decoder import decoder
from ssmd.reprocess import normalize
from tests.protocols.recorded import BTC_ETH, config, lines, records

SETTINGS = config("BTC/USD", "ETH/USD")


def test_the_same_records_give_the_same_events_again(shared_data):
    recorded = records(lines(shared_data / BTC_ETH), SETTINGS)
    assert list(normalize("kraken", "v1", recorded)) == list(normalize("kraken", "v1", iter(recorded)))


def test_from_a_checkpoint_on_come_exactly_the_later_events(shared_data):
    recorded = records(lines(shared_data / BTC_ETH), SETTINGS)
    whole = list(normalize("kraken", "v1", recorded))
    before = decoder("v1", "kraken", exchange("kraken"), None)
    count = sum(len(before.feed(record).events) for record in recorded[:1500])
    assert 0 < count < len(whole)
    assert list(normalize("kraken", "v1", recorded[1500:], before.state())) == whole[count:]
