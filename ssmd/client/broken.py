"""What to tell of a connection that did not come about."""

import ssl

import httpx


def why(error: Exception) -> str:
    """Return why a gateway cannot be reached; of a handshake that failed only the cause knows."""
    broken = _handshake(error)
    return str(broken or error) or type(error).__name__


def advice(error: Exception) -> str:
    """Return what to do about it, as a question or two."""
    broken = _handshake(error)
    if isinstance(broken, ssl.SSLCertVerificationError):
        return "is the URL's host in the certificate? SSL_CERT_FILE=ca.pem trusts a CA of your own"
    if broken is not None:
        return "does it speak TLS? a gateway without a certificate is http://"
    if isinstance(error, httpx.RemoteProtocolError):
        return "does it speak TLS? then write https://"
    return "is it running? is the address right?"


def _handshake(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
