"""The command line. `main` is the console script; a role process enters through `ssmd.cli.role` instead."""

import sys


def main() -> None:
    # a role process must not pay for what only the CLI needs
    from ssmd.cli.app import app  # noqa: PLC0415
    from ssmd.cli.process import well_behaved  # noqa: PLC0415

    with well_behaved():
        app()


def reprocessor() -> None:
    """Be `ssmd-reprocessor`: the same as `ssmd reprocess`."""
    from ssmd.cli.app import app  # noqa: PLC0415
    from ssmd.cli.process import well_behaved  # noqa: PLC0415

    with well_behaved():
        app(["reprocess", *sys.argv[1:]])
