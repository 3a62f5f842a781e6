"""TLS from certificate files that may be replaced at any time: who connects next gets the new certificate."""

import ssl
from pathlib import Path

from ssmd.errors import ConfigError
from ssmd.log import get_logger


class Certificates:
    """Old connections keep what they have. Files that do not fit together yet are tried again at the next connection."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        self._seen: object = None
        self._complained_of: object = None
        try:
            self._context = self._load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"[gateway] tls_certificate {certificate} and tls_key {key}: {_reason(error)}") from error

    def context(self) -> ssl.SSLContext:
        """Return the context for the next handshake."""
        try:
            if self._stamp() != self._seen:
                self._context = self._load()
                get_logger().info("certificate_loaded", certificate=str(self._paths[0]))
        except (OSError, ssl.SSLError) as error:
            self._complain(_reason(error))
        return self._context

    def _load(self) -> ssl.SSLContext:
        stamp = self._stamp()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._paths, password=_no_password)
        self._seen = stamp
        return context

    def _stamp(self) -> object:
        return [(each.st_ino, each.st_mtime_ns, each.st_size) for each in (path.stat() for path in self._paths)]

    def _complain(self, reason: str) -> None:
        if reason != self._complained_of:
            get_logger().error("certificate_not_loaded", certificate=str(self._paths[0]), error=reason)
        self._complained_of = reason


def _no_password() -> str:
    """Answer OpenSSL's question, which would else go to the terminal and wait there."""
    return ""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
