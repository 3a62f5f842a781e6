"""Where the gateway's clients differ from the environment's file, for `ssmd env status`."""

from collections.abc import Iterator, Sequence

from ssmd.cli.gateway import Reconciled, gateway_link
from ssmd.cli.options import Reach, Where
from ssmd.cli.reconciling import reconcile
from ssmd.cli.running import find_gateway
from ssmd.cli.status_rows import StatusRow
from ssmd.environment.spec import Environment
from ssmd.errors import SsmdError
from ssmd.settings import Settings


async def client_rows(environment: Environment, values: Settings, where: Where, reach: Reach) -> Sequence[StatusRow]:
    """Return a row for each client that differs, or one that says that none does or why nobody knows."""
    gateway = find_gateway(values, where.data_dir, reach, environment.name)
    if isinstance(gateway, str):
        unknown = StatusRow("unknown", "clients", gateway, "ssmd up, or --gateway URL")
        return [unknown] if environment.spec.entitlements else []
    try:
        async with gateway_link(gateway) as link:
            done = await reconcile(link, environment, dry_run=True)
    except SsmdError as error:
        return [StatusRow("unknown", "clients", str(error), "ssmd doctor")]
    return list(_rows(environment, done))


def _rows(environment: Environment, done: Reconciled) -> Iterator[StatusRow]:
    for change in done.changes:
        detail = f"the gateway would {change.action} it: {change.detail}"
        yield StatusRow("drift", f"client {change.client_id}", detail, f"ssmd env apply {environment.name}")
    for each in done.refused:
        what = " ".join(each.symbols) or "everything"
        fix = (
            f"ssmd client revoke {each.client_id} --feed {each.feed} takes it out of the file; entitle grants it again"
        )
        yield StatusRow("drift", f"client {each.client_id}", f"{each.feed} {what}: {each.detail}", fix)
    if not done.changes and not done.refused:
        count = len({entry.client_id for entry in environment.spec.entitlements})
        yield StatusRow("ok", "clients", f"the gateway has the {count} of the file as defined")
