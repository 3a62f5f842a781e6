"""An S3 server of forty lines that misbehaves as told; signatures are not looked at."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from ssmd.settings import StorageSettings

EMPTY_LIST = b'<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>'


class FakeS3:
    """status, code: what every object request is answered with, 0: as usual. only: for this method alone.

    ignores_conditions: overwrites whatever the client asks for, as Garage does.
    fails_after_store: so many puts store their object and are answered with 500 all the same.
    readonly: buckets in which the key may not write. absent: buckets that are not there; making one takes it out, unless the key may not (refuses_buckets).
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.status = 0
        self.code = ""
        self.only = ""
        self.refuses_listing = False
        self.ignores_conditions = False
        self.fails_after_store = 0
        self.readonly: set[str] = set()
        self.absent: set[str] = set()
        self.refuses_buckets = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.settings = StorageSettings()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: bytes, *, is_new_only: bool) -> tuple[int, bytes]:
        self.requests.append(f"{method} {path}")
        bucket, _, key = path.strip("/").partition("/")
        if not key and method == "PUT":
            if not self.refuses_buckets:
                self.absent.discard(bucket)
            return (403, b"") if self.refuses_buckets else (200, b"")
        if bucket in self.absent:
            return 404, b"<Error><Code>NoSuchBucket</Code></Error>"
        if bucket in self.readonly and method == "PUT":
            return 403, b"<Error><Code>AccessDenied</Code></Error>"
        if not key:
            return (403, b"<Error><Code>AccessDenied</Code></Error>") if self.refuses_listing else (200, EMPTY_LIST)
        if not key.startswith("probe/"):
            self.go_on.wait(10)
            if self.status and self.only in {"", method}:
                return (
                    self.status,
                    f"<Error><Code>{self.code}</Code><Message>{path} AKIACANARY</Message></Error>".encode(),
                )
        with self._lock:
            return self._object(method, key, body, is_new_only=is_new_only)

    def _object(self, method: str, key: str, body: bytes, *, is_new_only: bool) -> tuple[int, bytes]:
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, b""
        if method == "PUT":
            if key in self.objects and is_new_only and not self.ignores_conditions:
                return 412, b"<Error><Code>PreconditionFailed</Code></Error>"
            self.objects[key] = body
            if self.fails_after_store and not key.startswith("probe/"):
                self.fails_after_store -= 1
                return 500, b""
            return 200, b""
        return (200, self.objects[key]) if key in self.objects else (404, b"<Error><Code>NoSuchKey</Code></Error>")


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    fake = FakeS3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # each request has a connection, and so a thread, that ends with it

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_new_only = self.headers.get("If-None-Match") == "*"
            status, content = fake.answer(self.command, urlsplit(self.path).path, body, is_new_only=is_new_only)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", "Sat, 06 Dec 2025 14:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD" and status != 204:
                self.wfile.write(content)

        do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815  the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.settings = StorageSettings(f"http://127.0.0.1:{server.server_port}", "garage", "AKIACANARY", "s3cr3t-canary")
    try:
        yield fake
    finally:
        fake.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
