"""ssmd: capture, keep, normalize, stream, archive and rebuild live crypto market data."""

__version__ = "0.1.0"
