"""The one error tree: a class per reaction of the caller.

SsmdError
├── Outage                 the world outside is away: wait and try again, never counted as a bug
│   ├── BusDown            the message bus is away or did not answer in time
│   ├── StoreDown          the object store is away, slow or full
│   │   └── StoreRefused   it answers and says no: a person must act (also a ConfigError); capture goes on
│   ├── ExchangeDown       the exchange is away, silent or closed the connection
│   │   └── AddressRefused its name leads to where no exchange is: a person must act (also a ConfigError)
│   ├── DiskFull           the journal's volume has no room
│   ├── DatabaseDown       the gateway's database is locked, damaged, missing or full: let nobody new in
│   ├── GatewayDown        the gateway is away, or cannot answer now
│   ├── Outrun             what was to be read was deleted meanwhile: begin behind it, say what is missing
│   └── CandidateDown      the process of a candidate normalizer ended: nobody else is concerned
├── BadFrame               one frame cannot be understood: count it, keep it raw, go on
├── BadRecord              one stored raw line or message cannot be read: count it, go on
├── ConfigError            what the user wrote is wrong: say what, where and what is allowed
├── NotAllowed             no key, a key that does not count, or one that may not do this
├── Conflict               someone else changed it first: show the difference, let the user decide
├── AlreadyStored          a write-once object exists with other content
├── RestartIntensityExceeded   a child kept crashing: its supervisor gives up and climbs
├── MailboxFull            a FAIL mailbox has no room: the sender decides
└── MailboxClosed          no more items will come or be taken
"""


class SsmdError(Exception):
    """The root of every error that ssmd raises on purpose."""


class Outage(SsmdError):
    """The world outside is away; pace by backoff, never count as a crash."""


class BusDown(Outage):
    """The message bus is away or did not answer in time."""


class StoreDown(Outage):
    """The object store is away, slow or full."""


class ExchangeDown(Outage):
    """The exchange is away, silent or closed the connection. `reason` is a short label with few values."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class DiskFull(Outage):
    """The journal's volume has no room or refuses writes."""


class DatabaseDown(Outage):
    """The gateway's database is locked, damaged, missing or full. What it would have said is not guessed: fail closed."""


class GatewayDown(Outage):
    """The gateway is away, or says that it cannot answer now."""


class Outrun(Outage):
    """The journal did not wait for this reader: what it was about to read is deleted."""


class CandidateDown(Outage):
    """The process of a candidate normalizer ended without being asked."""


class BadFrame(SsmdError):
    """One frame cannot be understood. `reason` is a short label with few values, `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class BadRecord(SsmdError):
    """One stored raw line or normalized message cannot be read."""


class ConfigError(SsmdError):
    """What the user wrote is wrong; the message says what, where and what is allowed."""


class AddressRefused(ExchangeDown, ConfigError):
    """The exchange's name leads to an address where it cannot be; nothing was sent there. The message says what to do.

    For a role it is an outage: DNS is mended while it runs, and the gap is on record.
    """


class StoreRefused(StoreDown, ConfigError):
    """The object store refuses the key, the region or the bucket; the message says which and what to do.

    A command ends with it. For a role it is an outage: keys are changed while data come in, and the journal waits.
    """


class NotAllowed(SsmdError):
    """There is no key, or one that does not count or may not do this; the message says where one is."""


class Conflict(SsmdError):
    """Someone else changed it first; nothing was overwritten. The message says what differs."""


class AlreadyStored(SsmdError):
    """A write-once object exists with other content."""


class RestartIntensityExceeded(SsmdError):
    """A child crashed more often than its supervisor allows within the period."""


class MailboxFull(SsmdError):
    """A mailbox with the policy FAIL has no room."""


class MailboxClosed(SsmdError):
    """The mailbox takes or gives nothing more."""
