"""Read an environment file: by path, or by name from ./environments or the ones that come with ssmd."""

import sys
from pathlib import Path

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError
from ssmd.model import is_token

MAX_FILE_BYTES = 256 << 10
MAX_NESTING = 20


def find(name: str) -> Path:
    """Return the file of an environment. Raises ConfigError that lists where it was looked for."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    if not is_token(name):
        raise ConfigError(f"environment {name!r}: give a name made of letters, digits, _ and -, or a file")
    tried = [folder / f"{name}.yaml" for folder in _folders()]
    for path in tried:
        if path.exists():
            return path
    known = sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")})
    raise ConfigError(
        f"environment {name!r} not found; there are {', '.join(known) or 'none'}, or give a file such as ./my.yaml "
        f"(looked for {', '.join(map(str, tried))})"
    )


def load(name: str) -> Environment:
    """Return the checked structure of an environment. Raises ConfigError with the file and the place in it."""
    path = find(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"environment file {path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"environment file {path} has {len(content)} bytes; at most {MAX_FILE_BYTES}")
    try:
        return msgspec.convert(_parse(content), Environment)
    except UnicodeDecodeError as error:
        raise ConfigError(f"environment file {path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except YAMLError as error:
        raise ConfigError(f"environment file {path} is not plain YAML: {_first_line(error)}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"environment file {path}: {error}") from error


def _parse(content: bytes) -> object:
    # The safe loader refuses duplicate keys; anchors have no use here and make bombs, so they are refused too.
    yaml = YAML(typ="safe", pure=True)
    text = content.decode()
    depth = 0
    for token in yaml.scan(text):
        name = type(token).__name__
        where = f"line {token.start_mark.line + 1}"
        if name in {"AliasToken", "AnchorToken", "TagToken"}:
            raise YAMLError(f"{where}: aliases, anchors and tags are not allowed")
        depth += name.endswith("StartToken") and not name.startswith("Stream")
        depth -= name.endswith("EndToken") and not name.startswith("Stream")
        if depth > MAX_NESTING:
            raise YAMLError(f"{where}: nested more than {MAX_NESTING} levels deep")
    return yaml.load(text)


def _first_line(error: YAMLError) -> str:
    return " ".join(str(error).split())[:300]


def _folders() -> list[Path]:
    source = Path(__file__).parents[2] / "environments"
    shipped = Path(sys.prefix) / "share" / "ssmd" / "environments"
    return list(dict.fromkeys([Path("environments"), source, shipped]))
