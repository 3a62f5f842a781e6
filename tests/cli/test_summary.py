from pathlib import Path

from ssmd.cli import summary
from ssmd.cli.samples import Samples
from ssmd.cli.summary import last_words, next_commands
from ssmd.cli.system import _destination, _report
from ssmd.environment import load as environment
from ssmd.settings import Settings
from ssmd.trees import UpSpec
from tests.trees.test_storage import BUCKETS

WORDS = """\
ssmd_connector_frames_received_total{feed="kraken"} 6033
ssmd_connector_received_bytes_total{feed="kraken"} 1400000
ssmd_connector_checksums_total{feed="kraken",result="verified"} 3836
ssmd_connector_checksums_total{feed="kraken",result="failed"} 2
ssmd_connector_rejected_frames_total{feed="kraken",reason="not_json"} 1
ssmd_connector_gaps_total{feed="kraken",reason="reset"} 4
ssmd_connector_websocket_reconnects_total{feed="kraken"} 5
ssmd_connector_events_published_total{feed="kraken"} 3287
"""
STORED = """\
ssmd_connector_minutes_sealed_total{feed="kraken"} 1
ssmd_archiver_objects_total{feed="kraken"} 16
ssmd_archiver_bytes_written_total{bucket="raw"} 2000
ssmd_archiver_bytes_written_total{bucket="normalized"} 117300
"""


def spec(folder: Path, settings: Settings) -> UpSpec:
    return UpSpec(environment.load("demo"), settings, folder)


def test_it_tells_what_was_captured_verified_lost_and_kept(tmp_path: Path):
    (tmp_path / "raw/kraken").mkdir(parents=True)
    (tmp_path / "raw/kraken/00-00.jsonl.zst").write_bytes(b"x" * 2000)
    lines = list(summary.summary(spec(tmp_path, Settings()), Samples.parse(WORDS), 36.2))
    assert lines == [
        "captured   kraken: 6,033 frames, 1.4 MB, 3 symbols, 36 s",
        "quality    kraken: 3,836 book checksums verified, 2 failed; 1 frames rejected; 4 gaps recorded; 5 reconnects",
        "published  kraken: 3,287 events; 0 archived",
        f"kept       {tmp_path}/raw: 1 object in all, 2.0 kB",
        f"kept       {tmp_path}/normalized: 0 objects in all, 0 B",
    ]


def test_with_buckets_it_names_the_server_and_what_was_stored_in_each(tmp_path: Path):
    (tmp_path / "raw/kraken").mkdir(parents=True)
    (tmp_path / "raw/kraken/00-00.jsonl.zst").write_bytes(b"of an earlier run without a server")
    lines = list(summary.summary(spec(tmp_path, BUCKETS), Samples.parse(WORDS + STORED), 36.2))
    assert lines[3:] == [
        "stored     at http://127.0.0.1:1",
        "stored     in bucket ssmd-demo-raw: 1 object this time, 2.0 kB",
        "stored     in bucket ssmd-demo-normalized: 16 objects this time, 117.3 kB",
    ]


def test_what_up_says_first_and_last_names_where_the_data_went(tmp_path: Path, capsys):
    for settings, place in ((Settings(), str(tmp_path)), (BUCKETS, "http://127.0.0.1:1")):
        _report(spec(tmp_path, settings), 36.2)
        told = capsys.readouterr().out
        assert place in told
        assert place in _destination(spec(tmp_path, settings))
        assert (
            ("ssmd-demo-raw" in told)
            == ("ssmd-demo-raw" in _destination(spec(tmp_path, settings)))
            == (settings is BUCKETS)
        )
        assert "canary" not in (told + _destination(spec(tmp_path, settings))).lower()


def test_the_last_words_of_every_role_are_added_up(tmp_path: Path):
    (tmp_path / "run").mkdir()
    for name in ("archiver", "connector-kraken"):
        (tmp_path / "run" / f"{name}.metrics").write_text("ssmd_actor_restarts_total 2\n")
    assert last_words(tmp_path).total("ssmd_actor_restarts_total") == 4


def test_an_empty_folder_has_nothing_to_try(tmp_path: Path):
    assert list(next_commands(tmp_path)) == []
