"""A chaos row without target numbers proves nothing, so it must not even load."""

import msgspec
import pytest

from chaos import targets


def test_a_row_without_targets_does_not_load():
    with pytest.raises(LookupError, match="proves nothing"):
        targets.load("no_such_row", targets.Recovery)


def test_a_row_that_lacks_a_number_does_not_load():
    with pytest.raises(msgspec.ValidationError):
        targets.load("connector_killed", targets.BusAway)
