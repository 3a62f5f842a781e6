"""Several stores as one: what a key starts with decides where it lies; the whole key is the key there."""

from collections.abc import Iterator, Mapping, Sequence

from ssmd.store.base import ObjectMeta, Store


class RoutedStore:
    """Implements `ssmd.store.base.Store`. routes: from a prefix that ends in `/` to a store; `rest` takes all others."""

    def __init__(self, routes: Mapping[str, Store], rest: Store) -> None:
        self._routes = dict(routes)
        self._rest = rest

    async def create(self, key: str, body: bytes) -> bool:
        return await self._home(key).create(key, body)

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        return await self._home(key).read(key, size_bytes)

    async def head(self, key: str) -> ObjectMeta | None:
        return await self._home(key).head(key)

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        found = [
            meta for store in self._homes(prefix) for meta in await store.list(prefix) if self._home(meta.key) is store
        ]
        return sorted(found, key=lambda meta: meta.key)

    async def folders(self, prefix: str) -> Sequence[str]:
        found = [
            folder
            for store in self._homes(prefix)
            for folder in await store.folders(prefix)
            if self._home(folder) is store
        ]
        return sorted(found)

    async def delete(self, key: str) -> None:
        await self._home(key).delete(key)

    def _home(self, key: str) -> Store:
        return next((store for route, store in self._routes.items() if key.startswith(route)), self._rest)

    def _homes(self, prefix: str) -> Iterator[Store]:
        """Give each store that may hold keys with the prefix once."""
        home = self._home(prefix)
        yield home
        if home is self._rest:
            yield from (store for route, store in self._routes.items() if route.startswith(prefix))
