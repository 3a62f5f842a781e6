"""`make bench` runs everything; `make bench ARGS="stages load"` a part of it."""

import sys

from bench import load, stages

PARTS = {"stages": stages.run, "load": load.steady, "saturation": load.saturation}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        print(f"== {name}")
        PARTS[name]()


main()
