"""Read the parameters of a request: what is wrong with them is collected, so that a client sees all of it at once."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from ssmd.environment.check import MAX_NAME_CHARS
from ssmd.gateway.problems import ParameterError, invalid
from ssmd.gateway.times import parse_time
from ssmd.model import is_token

T = TypeVar("T", bound=str)

MAX_VALUES: Final = 200
"""In one list."""
_SHOWN_CHARS: Final = 80
_KEY: Final = re.compile(r"ssmd_[A-Za-z0-9_-]+")


class Parameters:
    """Each name is asked for once; `done` refuses what nobody has asked for."""

    def __init__(self, given: Iterable[tuple[str, str]], now_ns: int) -> None:
        self.now_ns = now_ns
        self._given: dict[str, str] = {}
        self._errors: list[ParameterError] = []
        self._known: set[str] = set()
        for name, value in given:
            if name in self._given:
                self.refuse(name, value, "given twice")
            self._given[name] = value

    def refuse(self, name: str, value: str, detail: str) -> None:
        self._errors.append(ParameterError(name, shown(value), detail))

    def has(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str) -> str | None:
        self._known.add(name)
        return self._given.get(name)

    def token(self, name: str) -> str | None:
        """Return a text that may become one part of a subject or of a key."""
        text = self.text(name)
        if text is not None and not is_token(text):
            self.refuse(name, text, "1 to 32 letters, digits, _ and -")
            return None
        return text

    def time(self, name: str) -> int | None:
        text = self.text(name)
        try:
            return None if text is None else parse_time(text, self.now_ns)
        except ValueError as error:
            self.refuse(name, text or "", str(error))
            return None

    def whole(self, name: str, least: int, most: int | None) -> int | None:
        """Return a whole number within bounds; most: None for any that is large enough."""
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < least:
            self.refuse(name, text, f"a whole number, at least {least}")
            return None
        if most is not None and int(text) > most:
            self.refuse(name, text, f"at most {most}")
            return None
        return int(text)

    def choice(self, name: str, allowed: Sequence[T]) -> T | None:
        text = self.text(name)
        found = next((one for one in allowed if one == text), None)
        if text is not None and found is None:
            self.refuse(name, text, f"one of {', '.join(allowed)}")
        return found

    def names(self, name: str) -> tuple[str, ...]:
        """Return the parts of a list, each once. They are names of an exchange or symbols: any printable text."""
        text = self.text(name)
        if text is None:
            return ()
        parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        if len(parts) > MAX_VALUES:
            self.refuse(name, text, f"at most {MAX_VALUES} at once")
        elif not all(1 <= len(part) <= MAX_NAME_CHARS and part.isprintable() for part in parts):
            self.refuse(
                name, text, f"a list such as BTCUSD,ETHUSD; each has 1 to {MAX_NAME_CHARS} printable characters"
            )
        else:
            return parts
        return ()

    def done(self, hint: str = "", about: str = "") -> None:
        """Raise Problem invalid_parameter when anything is wrong. Values of unknown names are not repeated.

        hint: what to do if the parameter that it is about is wrong.
        """
        for name in self._given.keys() - self._known:
            near = difflib.get_close_matches(name, self._known, 1)
            detail = f"no such parameter; did you mean {near[0]}?" if near else "no such parameter"
            self._errors.append(ParameterError(shown(name), "", detail))
        if self._errors:
            is_about = any(error.parameter == about for error in self._errors)
            raise invalid(*sorted(self._errors, key=lambda error: error.parameter), hint=hint if is_about else "")


def shown(value: str) -> str:
    """Return a client's own text as it may be shown: short, and without what looks like a key."""
    return _KEY.sub("***", value)[:_SHOWN_CHARS]
