"""A bucket of any S3 server (Garage, SeaweedFS, AWS), as a place for objects.

Servers differ in one thing that matters here: Garage 2.5 reads `If-None-Match` on GET only (garage_api_s3 put.rs), so a
create would silently overwrite. Hence each process tries once, and looks before it writes where the server does not.
"""

import secrets
import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import obstore  # noqa: TID251 the store's driver
import trio
from obstore.exceptions import AlreadyExistsError  # noqa: TID251 as above
from obstore.store import S3Store  # noqa: TID251 as above

from ssmd.errors import AlreadyStored, StoreDown, StoreRefused
from ssmd.log import get_logger
from ssmd.store.objects import DEADLINE_S, SLOWEST_BYTES_PER_S, ObjectStore
from ssmd.store.s3_access import S3Access, check_bucket
from ssmd.store.s3_answers import answer_of, refusal
from ssmd.store.s3_buckets import PROBE_PREFIX, make_bucket

if TYPE_CHECKING:
    from obstore.store import S3Credential  # noqa: TID251 as above

CALL_S: Final = 2 * DEADLINE_S
"""For all tries of a call together; what it transfers adds to it, as for a directory."""
RETRIES: Final = 3
"""After 5xx and broken connections; after a timeout only for what can be repeated without harm, so never a create."""
FIRST_PAUSE: Final = timedelta(milliseconds=100)
LONGEST_PAUSE: Final = timedelta(seconds=1)
CONNECT_S: Final = 3
MAX_CALLS: Final = 64
"""A server in another house answers after 25 ms, whatever is asked: eight at once would be 300 small objects a second."""


def s3_store(access: S3Access, bucket: str) -> "BucketStore":
    """Return a store of one bucket; nothing is asked of the server yet. ConfigError for a name that no bucket has."""
    return BucketStore(S3Bucket(access, bucket))


class BucketStore(ObjectStore):
    """A bucket as a store that can be tried out."""

    def __init__(self, bucket: "S3Bucket") -> None:
        super().__init__(bucket, deadline_s=CALL_S, max_calls=MAX_CALLS)
        self._bucket = bucket

    async def probe(self) -> bool:
        """Store, read, try to overwrite and delete a small object. Return whether the server itself refuses to overwrite.

        The bucket is made if it is missing. Raises StoreDown, or StoreRefused with what to do.
        """
        key = PROBE_PREFIX + secrets.token_hex(8)
        await self.create(key, b"1")
        try:
            if await self.read(key) != b"1":
                raise StoreDown(f"probe {key}: other content came back")
            await self._expect_refused(key)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CALL_S):
                await self.delete(key)
        return not self._bucket.looks_first

    async def _expect_refused(self, key: str) -> None:
        try:
            await self.create(key, b"2")
        except AlreadyStored:
            return
        raise StoreDown(f"probe {key}: it was overwritten")


class S3Bucket:
    """Implements `ssmd.store.objects.Place`. The first create makes the bucket if it is missing."""

    def __init__(self, access: S3Access, bucket: str) -> None:
        self._access = access
        self._bucket = check_bucket(bucket)
        self._drivers: dict[int, S3Store] = {}
        self._preparing = threading.Lock()
        self._looking = threading.Lock()
        self._is_prepared = False
        self.looks_first = False
        """The server overwrites whatever it is asked; known after the first create."""
        self._log = get_logger(bucket=bucket)

    def driver(self, size_bytes: int) -> S3Store:
        """Return a driver that gives up a try after the time that so many bytes may take, rounded up."""
        try_s = int(DEADLINE_S)
        while try_s < DEADLINE_S + size_bytes / SLOWEST_BYTES_PER_S:
            try_s *= 2
        if try_s not in self._drivers:
            self._drivers[try_s] = _driver(self._access, self._bucket, try_s)
        return self._drivers[try_s]

    def admit(self, key: str) -> None:
        """Admit every key: a bucket has no way out of it."""

    def put_new(self, key: str, body: bytes) -> None:
        self._prepare()
        put = self._put_if_absent if self.looks_first else self._put
        try:
            put(key, body)
        except FileNotFoundError:  # a bucket that was there is no more
            self._is_prepared = False
            raise

    def stored_bytes(self, key: str) -> int:
        return obstore.head(self.driver(0), key)["size"]

    def is_missing(self, error: Exception) -> bool:
        return answer_of(error).code == "NoSuchBucket"

    def trouble(self, what: str, error: Exception) -> StoreDown:
        answer = answer_of(error)
        if answer.is_refusal:
            return StoreRefused(f"{what}: {refusal(answer, self._access, self._bucket)}")
        return StoreDown(f"{what}: bucket {self._bucket} at {self._access.endpoint}: {answer.text}")

    # in a thread ---------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._preparing:
            if self._is_prepared:
                return
            if make_bucket(self._access, self._bucket, self.driver(0)):
                self._log.info("bucket_created")
            self.looks_first = not self._creates_only()
            if self.looks_first:
                self._log.warning(
                    "store_overwrites", hint="this server ignores If-None-Match: keep to one writer a feed"
                )
            self._is_prepared = True

    def _creates_only(self) -> bool:
        """Tell whether the server refuses to create what is there already, by trying it."""
        key = PROBE_PREFIX + secrets.token_hex(8)
        self._put(key, b"1")
        try:
            self._put(key, b"2")
        except AlreadyExistsError:
            return True
        else:
            return False
        finally:
            obstore.delete(self.driver(0), key)

    def _put_if_absent(self, key: str, body: bytes) -> None:
        """Look and put. No thread of this process comes in between; another process may."""
        with self._looking:
            if self._is_there(key):
                raise FileExistsError(key)
            self._put(key, body)

    def _put(self, key: str, body: bytes) -> None:
        mode: Literal["overwrite", "create"] = "overwrite" if self.looks_first else "create"
        # in one request: only that is whole or not there
        obstore.put(self.driver(len(body)), key, body, mode=mode, use_multipart=False)

    def _is_there(self, key: str) -> bool:
        try:
            obstore.head(self.driver(0), key)
        except FileNotFoundError:
            return False
        return True


def _credential(access: S3Access) -> "S3Credential":
    return {
        "access_key_id": access.access_key_id,
        "secret_access_key": access.secret_access_key,
        "token": None,
        "expires_at": None,
    }


def _driver(access: S3Access, bucket: str, try_s: int) -> S3Store:
    return S3Store(
        bucket,
        endpoint=access.endpoint,
        region=access.region,
        virtual_hosted_style_request=False,
        disable_bulk_delete=True,  # not every server has it
        credential_provider=partial(_credential, access),  # given like this, none of the AWS_* variables is mixed in
        client_options={
            "allow_http": not access.is_encrypted,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=try_s),
        },
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=DEADLINE_S),
            "backoff": {"init_backoff": FIRST_PAUSE, "max_backoff": LONGEST_PAUSE, "base": 2},
        },
    )
