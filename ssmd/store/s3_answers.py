"""What an S3 server's answer means, read from the driver's error text: it has classes for only some of them."""

import re
from typing import Final

from msgspec import Struct

from ssmd.store.s3_access import S3Access

REFUSALS: Final = frozenset({301, 307, 400, 401, 403, 405, 501})
"""Trying the same again cannot help. 404 is no refusal: a bucket that is missing is made."""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>\s*([A-Za-z0-9]{1,60})\s*</Code>")
_CAUSES: Final = {
    "kind: Connect": "cannot connect",
    "kind: Timeout": "no answer in time",
    "kind: Request": "the connection broke",
}
_TLS: Final = {"InvalidContentType": "NoTls", "InvalidCertificate": "BadCertificate"}
"""Marks of what rustls did not accept, and what we call it."""
_KEY: Final = "the key in storage.access_key_id and its secret"
_HINTS: Final = {
    "InvalidAccessKeyId": f"the server does not know {_KEY}",
    "SignatureDoesNotMatch": f"the secret does not belong to {_KEY}",
    "AuthorizationHeaderMalformed": "storage.region is not what the server is configured with",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it by NTP",
    "PermanentRedirect": "the bucket is in another region or at another endpoint",
    "NoTls": "it does not speak TLS: write http:// in storage.endpoint if that is meant",
    "BadCertificate": "its certificate is expired, for another host, or of an authority that this machine does not know",
    "NotImplemented": "the server lacks an operation that ssmd needs",
}


class Answer(Struct, frozen=True):
    """status 0: there was none. text holds nothing that the server said except its code: it may repeat keys."""

    status: int
    code: str
    text: str

    @property
    def is_refusal(self) -> bool:
        return self.status in REFUSALS or self.code in _TLS.values()


def answer_of(error: Exception) -> Answer:
    """Return what the server answered, or why it did not."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is None:
        for mark, code_of_ours in _TLS.items():
            if mark in text:
                return Answer(0, code_of_ours, "no TLS connection")
        cause = next((words for mark, words in _CAUSES.items() if mark in text), type(error).__name__)
        return Answer(0, "", cause)
    number = int(status[1])
    return Answer(number, code[1] if code else "", f"HTTP {number}" + (f" {code[1]}" if code else ""))


def refusal(answer: Answer, access: S3Access, bucket: str) -> str:
    """Return the message for a person: what was refused, and what to do about it."""
    hint = _HINTS.get(answer.code)
    if hint is None and answer.status in {401, 403}:
        hint = f"{_KEY} may not do this: allow reading, writing, listing and deleting in the bucket"
    if hint is None:
        hint = "is storage.endpoint an S3 endpoint, with the right scheme (http or https) and storage.region?"
    hint = hint.replace("storage.", f"{access.section}.")
    return f"bucket {bucket} at {access.endpoint} refuses ({answer.text}): {hint}"
