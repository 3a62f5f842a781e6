"""`make bench` runs everything; `make bench ARGS="stages load"` a part of it.

stages      µs of CPU per frame or event for every stage of the path
decode      the decoder alone, by kind of frame
codec       messages and raw lines, by kind
publish     the bus client against a real nats-server, by batch size
reprocess   rebuild and diff: frames/s, the stages of the hot loop, two processes, compression by level
load        the whole system at 2,000 frames/s for a minute: latency, CPU, memory, and a check of the result
saturation  the whole system, offered more than it can take
help        how long --help of every command takes
"""

import runpy
import sys

from bench import helptime, load, reprocess, stages

PARTS = {
    "stages": stages.run,
    "reprocess": reprocess.run,
    "load": load.steady,
    "saturation": load.saturation,
    "help": helptime.run,
}
SCRIPTS = ("decode", "codec", "publish")


def main() -> None:
    names = sys.argv[1:] or ["stages", *SCRIPTS, "reprocess", "load", "saturation", "help"]
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
