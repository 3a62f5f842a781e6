"""`ssmd env …`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from ssmd.cli.options import Asking, Config, Going, Output, Reach, Where

app = App(
    name="env",
    version_flags=[],
    help="Environments: create, validate, compare, promote, apply.",
    help_epilogue="Example: ssmd env validate dev",
)

Name = Annotated[str, Parameter(help="An environment: a name, or a YAML file.")]


@app.command(help_epilogue="")
def create(
    name: Annotated[str, Parameter(help="a-z, 0-9 and -; the file becomes environments/NAME.yaml.")],
    /,
    *,
    from_template: Annotated[
        str, Parameter(help="minimal, empty, or an environment to copy, such as homelab.")
    ] = "minimal",
    dry_run: Annotated[bool, Parameter(negative="", help="Print the file instead of writing it.")] = False,
) -> int:
    """Make a new environment from a template or from another environment, under its own name and buckets.

    Example: ssmd env create lab --from-template minimal
    """
    from ssmd.cli.environments import create_environment

    return create_environment(name, from_template, dry_run=dry_run)


@app.command(name="list", help_epilogue="")
def list_(*, output: Output = "table") -> int:
    """List the environments here and those that come with ssmd.

    Example: ssmd env list --output json
    """
    from ssmd.cli.environments import list_environments

    return list_environments(output)


@app.command(help_epilogue="")
def show(
    name: Name,
    /,
    *,
    output: Annotated[Literal["yaml", "json"], Parameter(name=["--output", "-o"], help="How to print it.")] = "yaml",
) -> int:
    """Show an environment with everything filled in: what it extends, and the defaults.

    Example: ssmd env show dev --output json
    """
    from ssmd.cli.environments import show_environment

    return show_environment(name, output)


@app.command(help_epilogue="")
async def validate(
    name: Name,
    /,
    *,
    online: Annotated[bool, Parameter(negative="", help="Ask the exchanges for their instrument lists.")] = False,
    output: Annotated[
        Literal["text", "table", "json", "yaml", "github"],
        Parameter(
            name=["--output", "-o", "--output-format"], help="text for people, github for a workflow's annotations."
        ),
    ] = "text",
    config: Config = None,
) -> int:
    """Check an environment as a whole and show every error, with its place and a way out. Exit code 1 on errors.

    Example: ssmd env validate dev
    """
    from ssmd.cli.environments import validate_environment

    return await validate_environment(name, output, config, online=online)


@app.command(help_epilogue="")
def diff(left: Name, right: Name, /, *, output: Output = "table") -> int:
    """Compare two environments by meaning: order, comments and spelling do not count. Exit code 1 when they differ.

    Example: ssmd env diff dev staging
    """
    from ssmd.cli.environments import diff_environments

    return diff_environments(left, right, output)


@app.command(help_epilogue="")
async def promote(
    source: Annotated[Name, Parameter(name="NAME")],
    /,
    *,
    to: Annotated[str, Parameter(help="The environment that takes the feeds and symbols.")],
    asking: Asking = Asking(),  # noqa: B008  # frozen
    config: Config = None,
) -> int:
    """Take feeds and symbols over into another environment; its storage, stream and entitlements stay as they are.

    Example: ssmd env promote dev --to staging --dry-run
    """
    from ssmd.cli.promoting import promote_environment

    return await promote_environment(source, to, asking, config)


@app.command(help_epilogue="")
async def apply(  # noqa: PLR0913  # a command's options are its parameters
    name: Name,
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Show what would be written, committed and put live.")
    ] = False,
    no_commit: Annotated[bool, Parameter(negative="", help="Write the overlay, commit nothing.")] = False,
    push: Annotated[bool, Parameter(negative="", help="Also `git push`.")] = False,
    out: Annotated[Path | None, Parameter(help="Overlay folder; else k8s/kustomize/overlays/NAME.")] = None,
    overwrite: Annotated[
        bool, Parameter(negative="", help="Put the file live even over changes it does not know.")
    ] = False,
    going: Going = Going(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
) -> int:
    """Validate, write the Kubernetes overlay, commit both to git, and put feeds and clients live where they can be reached.

    Example: ssmd env apply dev --no-commit
    """
    from ssmd.cli.applying import ApplyRequest, apply_environment

    return await apply_environment(ApplyRequest(name, dry_run, no_commit, push, out, overwrite), going, reach)


@app.command(help_epilogue="")
async def status(
    name: Name,
    /,
    *,
    output: Output = "table",
    where: Where = Where(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
) -> int:
    """Show what is defined, rendered, committed, live, and run by connectors and gateway; name every drift.

    Exit code 1 on drift.

    Example: ssmd env status dev
    """
    from ssmd.cli.status import show_status

    return await show_status(name, output, where, reach)


@app.command(help_epilogue="")
def schema(
    *,
    write: Annotated[bool, Parameter(negative="", help="Write environments/schema.json.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="With --write: show the difference, write nothing.")] = False,
) -> int:
    """Print the JSON Schema of environment files; editors check with it while typing.

    Example: ssmd env schema
    """
    from ssmd.cli.environments import print_schema

    return print_schema(write=write, dry_run=dry_run)
