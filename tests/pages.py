"""Programs that stand in a page of docs/, to be run as they stand there."""

import pathlib
import re
from collections.abc import Mapping

_DOCS = pathlib.Path(__file__).parent.parent / "docs"


def text(page: str) -> str:
    """What a page of docs/ says."""
    return (_DOCS / page).read_text()


def programs(page: str) -> dict[str, str]:
    """File name -> source of each block that begins with "# NAME.py"."""
    blocks = re.findall(
        r"```python\n(# (\w+\.py)\n.*?)```", text(page), flags=re.DOTALL
    )
    return {name: source for source, name in blocks}


def changed(source: str, changes: Mapping[str, str]) -> str:
    """The source with other pieces in place of some, which must be there."""
    for old, new in changes.items():
        assert old in source, f"there is no {old!r} in {source[:20]!r}"
        source = source.replace(old, new)
    return source
