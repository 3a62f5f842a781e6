"""The command line. `main` is the console script; a role process enters through `ssmd.cli.role` instead."""


def main() -> None:
    from ssmd.cli.app import app  # noqa: PLC0415  # a role process must not pay for what only the CLI needs

    app()
