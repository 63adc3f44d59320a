"""Tests of `archcomp_tf.corpus`."""

import dataclasses
import json
import math
import pathlib
import signal
import tempfile

import fresh
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Corpus, CorpusError, Record
from archcomp_tf.fitting import MIN_LABELS
from archcomp_tf.layer import Layer
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.teachers import TEACHERS

_PUBLISHED = sorted(
    (pathlib.Path(__file__).parent.parent / "results/corpora").glob("*.jsonl")
)

few_files = settings(max_examples=20, deadline=None)


@st.composite
def records(draw) -> Record:
    """Records that went well or failed, with any text in them."""
    failed = draw(st.booleans())
    return Record(
        architecture=draw(strategies.architectures()),
        accuracy=math.nan if failed else draw(st.floats(0, 1)),
        num_params=draw(st.integers(1, 10**9)),
        status=FAILED if failed else OK,
        reason=draw(st.text(max_size=20)),
        seed=draw(strategies.seeds),
        recipe=draw(st.text(max_size=20)),
        seconds=draw(st.floats(0, 1e6)),
        measured=draw(
            st.dictionaries(st.text(max_size=9), st.floats(0, 1e6), max_size=2)
        ),
    )


def _record(filters: int, **fields) -> Record:
    architecture = Architecture((Layer("conv", filters),))
    return Record(architecture, 0.5, 100 * filters, **fields)


def _plain(corpus) -> list[dict]:
    """Records as dicts that are equal where two accuracies are both NaN."""
    rows = [dataclasses.asdict(record) for record in corpus]
    for row in rows:
        if math.isnan(row["accuracy"]):
            row["accuracy"] = None
    return rows


def _write(path: pathlib.Path, *lines: str) -> str:
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


@given(records())
def test_a_record_reads_back_from_its_line(record):
    text = record.to_json()
    assert len(text.splitlines()) == 1
    assert _plain([Record.from_json(text)]) == _plain([record])


@given(records())
def test_a_line_is_json_that_every_reader_takes(record):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    config = json.loads(record.to_json(), parse_constant=refuse)
    assert (config["accuracy"] is None) == (record.status == FAILED)


@few_files
@given(st.lists(records(), max_size=5, unique_by=lambda record: record.key))
def test_a_file_reads_back_in_the_order_of_labelling(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records.jsonl"
        corpus = Corpus(path)
        for row in rows:
            corpus.append(row)
        assert _plain(corpus) == _plain(rows)
        assert _plain(Corpus(path)) == _plain(rows)


def test_a_failed_label_comes_back_as_failed_with_its_reason(tmp_path):
    path = tmp_path / "records.jsonl"
    failed = dataclasses.replace(
        _record(4), accuracy=math.nan, status=FAILED, reason="diverged"
    )
    Corpus(path).append(failed)
    (read,) = Corpus(path)
    assert math.isnan(read.accuracy)
    assert (read.status, read.reason) == (FAILED, "diverged")


def test_appending_goes_on_behind_what_was_read(tmp_path):
    path = tmp_path / "new" / "folder" / "records.jsonl"
    Corpus(path).append(_record(1))
    corpus = Corpus(path)
    corpus.append(_record(2))
    assert [record.num_params for record in corpus] == [100, 200]
    assert _plain(Corpus(path)) == _plain(corpus)


def test_an_appended_record_is_on_the_disk_when_append_returns(tmp_path):
    path = tmp_path / "records.jsonl"
    corpus = Corpus(path)
    for filters in range(1, 4):
        corpus.append(_record(filters))
        assert len(Corpus(path)) == filters


def test_a_record_is_found_by_its_key(tmp_path):
    path = tmp_path / "records.jsonl"
    Corpus(path).append(_record(4, seed=3, recipe="short"))
    corpus = Corpus(path)
    key = _record(4).architecture.fingerprint, 3, "short"
    assert corpus.get(key) == _record(4, seed=3, recipe="short")
    assert corpus.get((key[0], 4, "short")) is None


def test_a_corpus_without_a_path_keeps_records_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = Corpus()
    corpus.append(_record(4))
    assert list(corpus) == [_record(4)]
    assert list(tmp_path.iterdir()) == []


def test_a_second_record_of_the_same_key_is_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    Corpus(path).append(_record(4, seed=1))
    before = path.read_bytes()
    corpus = Corpus(path)
    # The same network: an identity layer builds nothing.
    layers = (*_record(4).architecture.layers, Layer("identity"))
    again = Record(Architecture(layers), 0.9, 400, seed=1)
    with pytest.raises(ValueError, match=again.architecture.fingerprint):
        corpus.append(again)
    assert list(corpus) == [_record(4, seed=1)]
    assert path.read_bytes() == before


def test_a_record_takes_the_place_of_a_failed_one(tmp_path):
    path = tmp_path / "records.jsonl"
    failed = Record(
        _record(4).architecture, math.nan, 400, status=FAILED, reason="killed"
    )
    Corpus(path).append(failed)
    corpus = Corpus(path)
    corpus.append(_record(4))
    assert failed.key == _record(4).key
    assert list(corpus) == list(Corpus(path)) == [_record(4)]


def test_another_seed_or_recipe_makes_another_record(tmp_path):
    corpus = Corpus(tmp_path / "records.jsonl")
    corpus.append(_record(4))
    corpus.append(_record(4, seed=1))
    corpus.append(_record(4, recipe="short"))
    assert len(Corpus(tmp_path / "records.jsonl")) == len(corpus) == 3


@few_files
@given(st.integers(0, 2), st.data())
def test_a_last_line_cut_off_anywhere_is_dropped(num_whole, data):
    rows = [_record(filters) for filters in range(1, num_whole + 1)]
    torn, new = _record(8).to_json(), _record(9)
    torn = torn[: data.draw(st.integers(1, len(torn)), label="cut")]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records.jsonl"
        _write(path, *[row.to_json() for row in rows])
        with open(path, "a") as file:
            file.write(torn)
        corpus = Corpus(path)
        assert list(corpus) == rows
        corpus.append(new)
        assert list(Corpus(path)) == [*rows, new]


def _changed(**fields) -> str:
    """The line of a record with fields changed, or removed where None."""
    config = json.loads(_record(4).to_json()) | fields
    return json.dumps({k: v for k, v in config.items() if v is not None})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"records of Tuesday",
        _record(4).to_json()[:-9].encode(),
        b"[]",
        b"7",
        b"null",
        b"{}",
        _changed(num_params=None).encode(),
        _changed(architecture=None).encode(),
        _changed(colour="red").encode(),
        _changed(architecture={"layers": [{"kind": "wavelet"}]}).encode(),
        _changed(architecture={"layers": 3}).encode(),
        _changed(architecture="conv3x3-4").encode(),
        b"\xff\xfe",
    ],
)
def test_a_broken_line_in_the_middle_is_named_with_its_file(line, tmp_path):
    path = tmp_path / "records.jsonl"
    whole = [_record(filters).to_json().encode() for filters in (1, 2)]
    content = b"".join(row + b"\n" for row in (whole[0], line, whole[1]))
    path.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        Corpus(path)
    assert f"{path}, line 2:" in str(caught.value)
    assert path.read_bytes() == content


# Appends records to the file argv[1], each with a reason of argv[2] letters,
# and says so, one line a record.
_APPEND = """
import os, signal, sys
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import Corpus, Record
from archcomp_tf.layer import Layer

corpus = Corpus(sys.argv[1])
reason = "x" * int(sys.argv[2])
for filters in range(1, 10_000):
    layers = (Layer("conv", filters),)
    corpus.append(Record(Architecture(layers), 0.5, filters, reason=reason))
    print(filters, flush=True)
"""


def _check_whole(
    path: pathlib.Path, length: int, num_acknowledged: int
) -> None:
    corpus = Corpus(path)
    sizes = [record.num_params for record in corpus]
    assert sizes == list(range(1, len(sizes) + 1))
    assert all(len(record.reason) == length for record in corpus)
    # At most one was written and not yet acknowledged.
    assert num_acknowledged <= len(sizes) <= num_acknowledged + 1
    corpus.append(_record(10_000))
    assert len(Corpus(path)) == len(sizes) + 1


# Lines of one page, and lines that are written in several pieces.
@pytest.mark.parametrize("length", [0, 20_000])
@pytest.mark.parametrize("num_lines", [1, 20])
def test_a_killed_process_loses_nothing_that_it_appended(
    num_lines, length, tmp_path
):
    path = tmp_path / "records.jsonl"
    process = fresh.start(_APPEND, path, length)
    for _ in range(num_lines):
        process.stdout.readline()
    process.kill()
    rest = process.communicate()[0].count("\n")
    assert process.returncode == -signal.SIGKILL
    _check_whole(path, length, num_lines + rest)


@pytest.mark.parametrize("length", [0, 20_000])
def test_a_line_is_whole_in_the_file_before_it_is_synced(length, tmp_path):
    path = tmp_path / "records.jsonl"
    # The process kills itself in the middle of its third append.
    prelude = """
import os, signal
synced = []

def die_on_the_third(descriptor):
    synced.append(descriptor)
    if len(synced) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = die_on_the_third
"""
    process = fresh.start(prelude + _APPEND, path, length)
    acknowledged = process.communicate(timeout=60)[0].count("\n")
    assert process.returncode == -signal.SIGKILL
    assert acknowledged == 2
    assert path.read_bytes().endswith(b"\n")
    assert len(Corpus(path)) == 3
    _check_whole(path, length, acknowledged)


def test_a_further_column_is_a_target_like_accuracy():
    record = _record(4, measured={"latency_ms": 3.5})
    assert record.target("accuracy") == 0.5
    assert record.target("latency_ms") == 3.5
    with pytest.raises(KeyError, match=r"column 'memory'.*\['latency_ms'\]"):
        record.target("memory")


def test_a_record_written_before_there_were_columns_is_read():
    config = json.loads(_record(4).to_json())
    del config["measured"]
    assert Record.from_json(json.dumps(config)) == _record(4)


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    path = tmp_path / "records.jsonl"
    first, second = Corpus(path), Corpus(path)
    first.append(_record(1))
    with pytest.raises(CorpusError, match="another process is labelling"):
        second.append(_record(2))
    assert list(Corpus(path)) == [_record(1)]
    first.close()
    # It sees what the first one wrote after it was opened.
    second.append(_record(2))
    assert list(second) == list(Corpus(path)) == [_record(1), _record(2)]


# Appends until the disk, a limit on the file's size, is full.
_FILL = """
import resource, signal, sys
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import Corpus, Record
from archcomp_tf.layer import Layer

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
corpus = Corpus(sys.argv[1])
for filters in range(1, 100):
    layers = (Layer("conv", filters),)
    try:
        corpus.append(Record(Architecture(layers), 0.5, filters))
    except OSError as error:
        assert len(corpus) == filters - 1
        sys.exit(f"{filters - 1} records, then: {error}")
"""


def test_a_full_disk_is_an_error_and_leaves_whole_lines(tmp_path):
    path = tmp_path / "records.jsonl"
    done = fresh.run(_FILL, path)
    corpus = Corpus(path)
    assert len(corpus) > 3
    assert done.stderr.startswith(f"{len(corpus)} records, then: [Errno 27]")
    assert path.read_bytes().endswith(b"\n")
    assert path.stat().st_size < 2000


def test_a_file_that_cannot_be_written_is_an_error_before_any_training():
    with pytest.raises(OSError, match="/proc/records.jsonl"):
        Corpus("/proc/records.jsonl").open()


@pytest.mark.parametrize("path", _PUBLISHED, ids=lambda path: path.stem)
def test_a_published_corpus_is_of_the_space_around_its_teacher(path):
    records = list(Corpus(path))
    (teacher,) = (n for n in TEACHERS if path.stem.endswith(f"_{n}"))
    # Of today's configs, or of those before them.
    spaces = [SearchSpace.around(TEACHERS[teacher], divisor=n) for n in (8, 1)]
    assert len(records) >= MIN_LABELS
    assert any(
        all(space.contains(record.architecture) for record in records)
        for space in spaces
    )
    assert len({(r.seed, r.recipe) for r in records}) == 1


def test_numbers_of_numpy_are_written_as_plain_ones():
    record = Record(
        Architecture.parse("conv3x3-4"), np.float32(0.5), np.int64(100)
    )
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accuracy": 87.4}, r"in \[0, 1\]; got 87.4"),
        ({"accuracy": float("nan")}, r"in \[0, 1\]; got nan"),
        ({"num_params": 1.5}, "whole and positive number .* got 1.5"),
        ({"num_params": 0}, "whole and positive number .* got 0"),
        ({"num_params": "100"}, "whole and positive number .* got '100'"),
        ({"architecture": "conv3x3-4"}, "what a record is of, .*'conv3x3-4'"),
        ({"status": "done"}, "'ok' or 'failed'; got 'done'"),
    ],
)
def test_what_is_no_label_is_refused(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Record(
            **{
                "architecture": Architecture.parse("conv3x3-4"),
                "accuracy": 0.5,
                "num_params": 9,
            }
            | fields
        )


def test_a_folder_is_no_record_file(tmp_path):
    with pytest.raises(CorpusError, match="got a folder .*corpus/records.json"):
        Corpus(tmp_path)
