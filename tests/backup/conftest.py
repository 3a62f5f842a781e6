from tests.store.conftest import _s3_servers_end, s3_server

__all__ = ["_s3_servers_end", "s3_server"]
