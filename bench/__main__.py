"""`make bench` runs everything; `make bench ARGS="stages load"` a part of it.

stages      µs of CPU per frame or event for every stage of the path
decode      the decoder alone, by kind of frame
codec       messages and raw lines, by kind
publish     the bus client against a real nats-server, by batch size
history     the gateway's history: a day of one symbol in each format, time to the first byte, rows/s, memory
history-s3  the same from a SeaweedFS behind 25 ms a request, short answers too, and how often it is asked
reprocess   rebuild and diff: frames/s, the stages of the hot loop, two processes, compression by level
load        the whole system at 2,000 frames/s for a minute: latency, CPU, memory, and a check of the result
latency     from the exchange's sending to a subscriber of the gateway, stage by stage, at 2,000 frames/s
saturation  the whole system, offered more than it can take
fanout      the gateway: what one more client costs per message, at 1, 100 and 500 clients
help        how long --help of every command takes
"""

import runpy
import sys

from bench import fanout, helptime, history, latency, load, reprocess, stages

PARTS = {
    "stages": stages.run,
    "history": history.run,
    "history-s3": history.run_s3,
    "reprocess": reprocess.run,
    "load": load.steady,
    "latency": latency.run,
    "saturation": load.saturation,
    "fanout": fanout.run,
    "help": helptime.run,
}
SCRIPTS = ("decode", "codec", "publish")


def main() -> None:
    names = sys.argv[1:] or [
        "stages", *SCRIPTS, "history", "history-s3", "reprocess", "load", "latency", "saturation", "fanout", "help",
    ]  # fmt: skip
    unknown = [name for name in names if name not in PARTS and name not in SCRIPTS]
    if unknown:
        sys.exit(f"bench: no part {unknown[0]!r}; there are {', '.join([*PARTS, *SCRIPTS])}")
    for name in names:
        print(f"== {name}", flush=True)
        if name in PARTS:
            PARTS[name]()
        else:
            sys.argv = [name]
            runpy.run_module(f"bench.{name}", run_name="__main__")


if __name__ == "__main__":  # a worker process of anyio imports this file under another name
    main()
