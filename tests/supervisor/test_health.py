import trio

from ssmd.supervisor import ChildSpec, ChildState, HealthBoard, Strategy, Supervisor, Surroundings

from .fakes import Log, child, crash_on, finish


def test_a_board_without_checks_is_ready():
    assert HealthBoard().ready


def test_a_new_check_holds_back_readiness_until_it_is_ok():
    board = HealthBoard()
    board.check("nats")
    assert not board.ready
    assert board.checks()[0].since_s is None


async def test_ready_means_that_every_check_is_ok(autojump_clock):
    board = HealthBoard()
    board.check("nats").ok()
    board.check("store").ok()
    assert board.ready
    board.check("nats").fail("connection refused")
    assert not board.ready
    assert [(check.name, check.is_ok, check.detail) for check in board.checks()] == [
        ("nats", False, "connection refused"),
        ("store", True, ""),
    ]


async def test_since_is_when_a_check_changed_not_when_it_was_last_reported(autojump_clock):
    check = HealthBoard().check("nats")
    check.ok()
    began_s = trio.current_time()
    await trio.sleep(5)
    check.ok()
    assert check.health.since_s == began_s
    check.fail("away")
    assert check.health.since_s == began_s + 5


async def test_the_board_shows_each_child_by_path_with_restarts_and_last_error(autojump_clock):
    log, board = Log(), HealthBoard()
    inner = [child("conn-1", log, crash_on(1, after_s=2))]
    tree = Supervisor(
        "connector",
        Strategy.ONE_FOR_ONE,
        [
            child("publisher", log, finish),
            ChildSpec("sessions", lambda: Supervisor("named by its parent", Strategy.ONE_FOR_ONE, inner)),
        ],
        surroundings=Surroundings(board=board),
    )
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        await trio.sleep(2.05)
        assert _states(board) == {
            "connector/publisher": (ChildState.FINISHED, 0, None, 1.0),
            "connector/sessions": (ChildState.RUNNING, 0, None, 0.0),
            "connector/sessions/conn-1": (ChildState.BACKOFF, 0, "ValueError('run 1')", 2.0),
        }
        await trio.sleep(10)
        assert board.snapshot()[2].state is ChildState.RUNNING
        assert board.snapshot()[2].restarts == 1
        assert board.snapshot()[2].error == "ValueError('run 1')"
        assert board.snapshot()[2].since_s - began_s < 3
        tree.drain()
    assert {health.state for health in board.snapshot()} == {ChildState.FINISHED}


def _states(board):
    zero_s = min(health.since_s for health in board.snapshot())
    return {
        health.path: (health.state, health.restarts, health.error, round(health.since_s - zero_s, 3))
        for health in board.snapshot()
    }
