"""Tests of `archcomp_tf.atomic`."""

import pathlib

import pytest

from archcomp_tf.atomic import replacing


def _files(folder: pathlib.Path) -> dict[str, str]:
    """Path under the folder -> content, of every file."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path):
    target = tmp_path / "teacher" / "model.keras"
    for content in ("old", "new"):
        before = target.read_text() if target.exists() else None
        with replacing(target) as path:
            path.write_text(content)
            assert (target.read_text() if target.exists() else None) == before
            # What is written depends on the suffix and stays on one disk.
            assert path.suffix == ".keras"
            assert path.parent == target.parent
        assert target.read_text() == content
        assert list(target.parent.iterdir()) == [target]


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "students" / "saved_model"
    for files in ({"a": "1", "b": "2"}, {"b": "3"}):
        with replacing(target) as path:
            (path / "variables").mkdir(parents=True)
            for name, content in files.items():
                (path / "variables" / name).write_text(content)
        assert _files(target) == {
            f"variables/{name}": content for name, content in files.items()
        }
        assert list(target.parent.iterdir()) == [target]


def _write_file(path: pathlib.Path, content: str) -> None:
    path.write_text(content)


def _write_directory(path: pathlib.Path, content: str) -> None:
    path.mkdir()
    (path / "part").write_text(content)


@pytest.mark.parametrize("write", [_write_file, _write_directory])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_a_write_that_fails_leaves_the_old_content_alone(
    tmp_path, write, error
):
    with replacing(tmp_path / "best") as path:
        write(path, "old")
    before = _files(tmp_path)
    with pytest.raises(error):
        with replacing(tmp_path / "best") as path:
            write(path, "half of the n")
            raise error("the disk is full")
    assert _files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize(
    "write",
    [
        _write_file,
        _write_directory,
    ],
)
def test_a_write_that_writes_nothing_leaves_the_old_content(tmp_path, write):
    with replacing(tmp_path / "best") as path:
        write(path, "old")
    before = _files(tmp_path)
    with pytest.raises(FileNotFoundError):
        with replacing(tmp_path / "best"):
            pass
    assert _files(tmp_path) == before


@pytest.mark.parametrize("write", [_write_file, _write_directory])
def test_what_a_killed_process_left_is_not_left_for_ever(tmp_path, write):
    with replacing(tmp_path / "best") as path:
        write(path, "old")
    write(path, "half of the n")  # and no more
    with replacing(tmp_path / "best") as path:
        write(path, "newer")
    assert set(_files(tmp_path).values()) == {"newer"}
