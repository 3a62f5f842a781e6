import random

import pytest

from ssmd.gateway.limits import Bucket, Buckets, Rate, host_of


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = Bucket(Rate(2.0, 5), 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.5]
    assert bucket.take(0.5) == 0
    assert bucket.take(0.5) == 0.5
    assert [bucket.take(1000.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.5]
    assert bucket.take(1001.0, amount=6) == float("inf")


def test_whatever_the_times_no_stretch_gets_more_than_burst_and_rate(seed):
    chance, rate = random.Random(seed), Rate(3.0, 4)
    bucket, at_s, taken = Bucket(rate, 0.0), 0.0, []
    for _ in range(5000):
        at_s += chance.choice([0, 0, 0.01, 0.3, 2.0])
        taken += [at_s] * (bucket.take(at_s) == 0)
    for begin in range(0, len(taken), 7):
        for end in range(begin, min(begin + 40, len(taken))):
            assert end - begin + 1 <= rate.burst + rate.per_s * (taken[end] - taken[begin]) + 1e-6


def test_a_clock_that_goes_back_gives_nothing():
    bucket = Bucket(Rate(1.0, 1), 100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(0.0) > 0
    assert bucket.take(100.5) > 0


def test_one_key_does_not_use_up_another_ones_and_few_are_remembered():
    buckets: Buckets[int] = Buckets(capacity=100)
    rate = Rate(0.0, 1)
    assert buckets.take(0, rate, 0.0) == 0
    assert buckets.take(0, rate, 0.0) == float("inf")
    assert all(buckets.take(key, rate, 0.0) == 0 for key in range(1, 1000))
    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("unix", "unix"),
    ],
)
def test_a_host_is_an_address_or_a_network_of_its_own(address, host):
    assert host_of(address) == host
