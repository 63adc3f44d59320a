"""Files and folders that appear whole or not at all.

Only the standard library is needed here.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary path that takes the place of `path` when all went well.

    Args:
      path: of a file or a folder; its folder is made if it is not there.

    Yields:
      Where to write: beside `path`, with its suffix.
    """
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of one name, so that what a killed process left is not left for ever: a
    # target has one writer.
    temporary = target.with_name(f"part-{target.name}")
    _remove(temporary)
    try:
        yield temporary
        if temporary.exists() and target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        _remove(temporary)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
