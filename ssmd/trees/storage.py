"""Which store the settings and the environment mean: the directory of the data, or two buckets of an S3 server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ssmd.environment.spec import Environment
from ssmd.settings import Settings
from ssmd.store.base import Store
from ssmd.store.objects import local_store
from ssmd.store.routed import RoutedStore
from ssmd.store.s3 import BucketStore, s3_store
from ssmd.store.s3_access import s3_access

RAW_ROUTE: Final = "raw/"


def open_store(environment: Environment, settings: Settings, data_dir: Path) -> Store:
    """Return the store; nothing is asked of a server yet. Raises ConfigError for settings that cannot work.

    What lies below raw/ is in the raw bucket, everything else (normalized data, manifests of versions, holds) in the
    normalized one.
    """
    if not settings.storage.endpoint:
        return local_store(data_dir)
    storage, stores = environment.spec.storage, bucket_stores(environment, settings)
    return RoutedStore({RAW_ROUTE: stores[storage.raw.bucket]}, rest=stores[storage.normalized.bucket])


def bucket_stores(environment: Environment, settings: Settings) -> Mapping[str, BucketStore]:
    """Return a store for each bucket of the environment, by the bucket's name."""
    access, storage = s3_access(settings.storage), environment.spec.storage
    return {name: s3_store(access, name) for name in (storage.raw.bucket, storage.normalized.bucket)}


def store_endpoint(settings: Settings) -> str:
    """Return the S3 server of the settings, without anything secret."""
    return s3_access(settings.storage).endpoint


def store_name(environment: Environment, settings: Settings, data_dir: Path) -> str:
    """Return for people where the data are."""
    if not settings.storage.endpoint:
        return f"{data_dir} (directory)"
    storage = environment.spec.storage
    return f"{store_endpoint(settings)} (buckets {storage.raw.bucket}, {storage.normalized.bucket})"
