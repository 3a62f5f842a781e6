"""Make a bucket where it is missing. The driver has no such call, so it only signs the request."""

import ssl
from datetime import timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

import obstore  # noqa: TID251 the store's driver
from obstore.exceptions import BaseError  # noqa: TID251 as above
from obstore.store import S3Store  # noqa: TID251 as above

from ssmd.errors import StoreDown, StoreRefused
from ssmd.store.s3_access import S3Access
from ssmd.store.s3_answers import Answer, answer_of, refusal

ANSWER_WITHIN_S: Final = 5.0
SIGNED_FOR: Final = timedelta(minutes=5)
PROBE_PREFIX: Final = "probe/"

_MADE: Final = frozenset({200, 204})
_MADE_BY_ANOTHER: Final = 409
_ENTRY: Final = "us-east-1"
"""The one region of AWS that must not be named when a bucket is made."""


def make_bucket(access: S3Access, bucket: str, driver: S3Store) -> bool:
    """Return when the bucket is there; True: it was made now. Blocks; call it in a thread.

    Raises the driver's errors, StoreDown, or StoreRefused when it is missing and this key may not make it.
    """
    if is_there(driver):
        return False
    status = _put_bucket(access, driver)
    if status in {401, 403}:
        raise StoreRefused(
            f"bucket {bucket} does not exist at {access.endpoint} and {access.section}.access_key_id may not create it: "
            f"create it and let this key read and write it, or let the key create buckets"
        )
    if status not in _MADE and status != _MADE_BY_ANOTHER:
        answer = Answer(status, "", f"HTTP {status}")
        if answer.is_refusal:
            raise StoreRefused(refusal(answer, access, bucket))
        raise StoreDown(f"bucket {bucket} at {access.endpoint}: {answer.text}")
    return status in _MADE


def is_there(driver: S3Store) -> bool:
    """Tell whether the bucket exists, by a listing: unlike the answer to HEAD, a refusal of it says why."""
    try:
        next(iter(obstore.list(driver, PROBE_PREFIX)), None)
    except BaseError as error:
        if answer_of(error).status != 404:
            raise
        return False
    return True


def _location(access: S3Access) -> bytes:
    """Only AWS wants to be told; others take the region they have."""
    if not access.endpoint.endswith(".amazonaws.com") or access.region == _ENTRY:
        return b""
    inner = f"<LocationConstraint>{access.region}</LocationConstraint>"
    return f"<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>".encode()


def _put_bucket(access: S3Access, driver: S3Store) -> int:
    url = urlsplit(obstore.sign(driver, "PUT", "", SIGNED_FOR))
    connect = HTTPSConnection if access.is_encrypted else HTTPConnection
    connection = connect(url.netloc, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("PUT", f"{url.path}?{url.query}", body=_location(access) or None)
        answer = connection.getresponse()
        answer.read()
    except ssl.SSLError as error:
        raise StoreRefused(f"{access.endpoint}: TLS fails, {error.reason}: is https right for this server?") from error
    except (OSError, HTTPException) as error:
        raise StoreDown(f"{access.endpoint}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    return answer.status
