"""What a value without quotes means in YAML, and which ones mean something else to other readers."""

import re
from typing import Final

Plain = str | int | float | bool | None
"""What a scalar may be."""

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SWITCH: Final = re.compile(r"(?i:y|n|yes|no|on|off)")
_ODD_NUMBER: Final = re.compile(
    r"""[-+]?(
        0[0-9_]+                                           # octal or decimal
        | 0[xXoObB][0-9a-fA-F_]+
        | [0-9][0-9.]*(_[0-9._]*)+
        | [0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?                 # base 60: 1:30 is 90
        | (\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+
    )""",
    re.VERBOSE,
)
"""Truth values and numbers for YAML 1.1, text or other numbers for YAML 1.2, or the other way round."""

_MAX_DIGITS: Final = 30
"""Longer ones stay text: no number here is that long, and Python refuses to convert thousands of digits."""


def is_switch(value: str) -> bool:
    """Tell whether this is a truth value for YAML 1.1 and text for YAML 1.2."""
    return _SWITCH.fullmatch(value) is not None


def is_ambiguous(value: str) -> bool:
    """Tell whether readers of YAML disagree on what this is without quotes."""
    return is_switch(value) or _ODD_NUMBER.fullmatch(value) is not None


def typed(value: str) -> Plain:
    """Return what an unquoted scalar means in YAML 1.2."""
    if value in _WORDS:
        return _WORDS[value]
    if len(value) > _MAX_DIGITS:
        return value
    if _INT.fullmatch(value):
        return int(value)
    return float(value.lower().replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(value) else value
