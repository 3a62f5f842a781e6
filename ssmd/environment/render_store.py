"""Where the objects of a cluster go: to the Garage of the base, or to an S3 server that the settings name."""

import re
from collections.abc import Mapping
from typing import Final

from ssmd.errors import ConfigError
from ssmd.settings import DeploySettings

_ENDPOINT: Final = re.compile(r"https?://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/?")
"""Scheme, host and port: nothing else works, and a password must not get into a file that is committed."""
_REGION: Final = re.compile(r"[A-Za-z0-9-]+")


def uses_garage(deploy: DeploySettings) -> bool:
    return not deploy.s3_endpoint


def store_variables(deploy: DeploySettings) -> Mapping[str, str]:
    """Return what the workloads are told beside the base's words; nothing for Garage, which the base names.

    Raises ConfigError for what cannot be an endpoint or a region, and for one without the other.
    """
    if uses_garage(deploy):
        if deploy.s3_region:
            raise ConfigError(f"deploy.s3_region is {deploy.s3_region!r} without deploy.s3_endpoint; set both or none")
        return {}
    if _ENDPOINT.fullmatch(deploy.s3_endpoint) is None:
        raise ConfigError("deploy.s3_endpoint is not http://host:port or https://host; keys go into the Secret s3")
    if _REGION.fullmatch(deploy.s3_region) is None:
        raise ConfigError(f"deploy.s3_region is {deploy.s3_region!r}; write the region of deploy.s3_endpoint")
    return {"SSMD_STORAGE_ENDPOINT": deploy.s3_endpoint, "SSMD_STORAGE_REGION": deploy.s3_region}
