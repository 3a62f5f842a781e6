"""YAML text that is the same for the same content, and means the same to every reader of YAML."""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

Content = Mapping[str, "Content"] | Sequence["Content"] | str | int | bool | None
"""What a document is made of."""

_PLAIN: Final = re.compile(r"[A-Za-z/][\w./=-]*|\.\.?/[\w./-]+|[0-9]+(m|[KMGT]i?B?)")
_NOT_TEXT: Final = re.compile(r"y|n|yes|no|on|off|true|false|null", re.IGNORECASE)
"""kubectl reads YAML 1.1, where a symbol named NO is a boolean."""
_ENDLESS: Final = 1 << 20


class _Representer(RoundTripRepresenter):
    """A class of its own: representers are registered per class, and other code writes YAML too."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write what stands in two places twice: no anchors."""
        return True


def _represent_text(representer: RoundTripRepresenter, text: str) -> ScalarNode:
    is_plain = _PLAIN.fullmatch(text) is not None and _NOT_TEXT.fullmatch(text) is None
    node: ScalarNode = representer.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')
    return node


_Representer.add_representer(str, _represent_text)


def to_yaml(*documents: Content) -> str:
    """Return the documents as text: keys in the order given, nothing wrapped, a line break at the end."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = _ENDLESS
    yaml.indent(mapping=2, sequence=4, offset=2)
    texts = []
    for document in documents:
        stream = StringIO()
        yaml.dump(document, stream)
        texts.append(stream.getvalue())
    return "---\n".join(texts)


def on_one_line(entry: Mapping[str, Content]) -> CommentedMap:
    """Return the mapping so that it is written as `{a: 1, b: 2}`."""
    line = CommentedMap(entry)
    line.fa.set_flow_style()
    return line
