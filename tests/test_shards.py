"""Shares of a list of recordings, their records, and joining them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioseg_xai.errors import ShardError, UsageError
from audioseg_xai.joining import join, whole
from audioseg_xai.shards import Job, Shard, read_record, record_path

URIS = ["a", "b", "c", "d", "e"]


def line(uri: str) -> str:
    return f"SPEAKER {uri} 1 0.000 1.000 <NA> <NA> speech 0.987 <NA>\n"


def make(
    folder: Path, job: str, uris: list[str] = URIS, failed: str = "", model: str = "m"
) -> Path:
    """Write a shard of `uris` with a segment in each recording but b, where nothing sounds."""
    number = job.partition("/")[0]
    path = folder / f"part.{number}.rttm"
    shard = Shard(uris, Job.parse(job))
    shard.begin([path, None])
    mine = [uris[place] for place in shard.places]
    path.write_text("".join(line(uri) for uri in mine if uri not in {"b", *failed}))
    shard.finish([path, None], set(mine) - set(failed), {"model": model})
    return path


# --- shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "", "1/2/3", "1 / 2"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 2/8"):
        Job.parse(text)


@given(st.lists(st.floats(0.1, 1000), max_size=30), st.integers(1, 9))
def test_shares_are_the_work_and_take_about_equally_long(
    durations: list[float], total: int
) -> None:
    items = list(range(len(durations)))
    shares = [Job(number, total).share(items, durations) for number in range(1, total + 1)]
    assert sorted(item for share in shares for item in share) == items
    assert all(share == sorted(share) for share in shares)
    longest = max(sum(durations[item] for item in share) for share in shares)
    # No schedule is shorter than the mean load, or than its longest item.
    bound = max(sum(durations) / total, max(durations, default=0))
    assert longest <= bound + max(durations, default=0) + 1e-6


@given(st.integers(0, 30), st.integers(1, 9))
def test_without_durations_shares_have_equally_many(number: int, total: int) -> None:
    parts = [Job(job, total).share(range(number)) for job in range(1, total + 1)]
    assert parts == [list(range(number))[job::total] for job in range(total)]


def test_one_long_recording_has_a_share_of_its_own() -> None:
    durations = [60.0, 60.0, 3600.0, 60.0]
    assert Job(1, 2).share("abcd", durations) == ["c"]
    assert Job(2, 2).share("abcd", durations) == ["a", "b", "d"]


# --- joining ------------------------------------------------------------------------------------


def test_the_whole_is_in_the_order_of_the_list(tmp_path: Path) -> None:
    parts = [make(tmp_path, f"{number}/3") for number in (3, 1, 2)]
    assert join(parts, tmp_path / "all.rttm") == []
    assert (tmp_path / "all.rttm").read_text() == "".join(map(line, "acde"))


def test_it_goes_to_stdout_without_an_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    join([make(tmp_path, "1/1")], None)
    assert capsys.readouterr().out == "".join(map(line, "acde"))


def test_more_shares_than_recordings(tmp_path: Path) -> None:
    parts = [make(tmp_path, f"{number}/7") for number in range(1, 8)]
    join(parts, tmp_path / "all.rttm")
    assert (tmp_path / "all.rttm").read_text() == "".join(map(line, "acde"))


def test_recordings_that_failed_are_told(tmp_path: Path) -> None:
    parts = [make(tmp_path, f"{number}/2", failed="da") for number in (1, 2)]
    assert join(parts, tmp_path / "all.rttm") == ["a", "d"]
    assert (tmp_path / "all.rttm").read_text() == "".join(map(line, "ce"))


def damage(path: Path) -> None:
    path.write_text(path.read_text() + line("z"))


def forget(path: Path) -> None:
    record_path(path).unlink()


def garble(path: Path) -> None:
    record_path(path).write_text('{"job": 3}')


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage, r"part\.2\.rttm: is not what part\.2\.rttm\.json tells: run job 2/3 again"),
        (Path.unlink, r"part\.2\.rttm: no such file: run job 2/3 again"),
        (forget, r"part\.2\.rttm: is not whole, or no shard \(no part\.2\.rttm\.json\)"),
        (garble, r"part\.2\.rttm\.json: is no record of a shard"),
        (lambda path: make(path.parent, "2/4"), r"part\.2\.rttm: is share 2/4, but .* is 1/3"),
        (lambda path: make(path.parent, "2/3", URIS[::-1]), r"of another list of recordings"),
        (lambda path: make(path.parent, "2/3", model="n"), r"with another model than .* job 2/3"),
    ],
)  # fmt: skip
def test_nothing_is_written_of_shards_that_make_no_whole(
    tmp_path: Path, harm: object, message: str
) -> None:
    parts = [make(tmp_path, f"{number}/3") for number in (1, 2, 3)]
    assert callable(harm)
    harm(parts[1])
    output = tmp_path / "all.rttm"
    output.write_text("from before")
    with pytest.raises(ShardError, match=message):
        join(parts, output)
    assert output.read_text() == "from before"


def test_missing_and_doubled_shards_are_named(tmp_path: Path) -> None:
    first = make(tmp_path, "1/4")
    with pytest.raises(ShardError, match=r"missing: the shards of --job 2/4, 3/4, 4/4"):
        join([first], None)
    copy = tmp_path / "copy.rttm"
    copy.write_bytes(first.read_bytes())
    record_path(copy).write_bytes(record_path(first).read_bytes())
    with pytest.raises(ShardError, match=r"part\.1\.rttm and .*copy\.rttm: are both share 1/4"):
        join([first, copy], None)


def test_a_shard_that_is_made_again_is_not_whole_meanwhile(tmp_path: Path) -> None:
    parts = [make(tmp_path, f"{number}/2") for number in (1, 2)]
    assert whole([*parts, tmp_path / "none.rttm"]) == parts
    Shard(URIS, Job(2, 2)).begin([parts[1]])
    assert whole(parts) == parts[:1]


def test_a_record_tells_what_it_covers(tmp_path: Path) -> None:
    record = read_record(make(tmp_path, "2/3", failed="e"))
    assert record.recordings == {"b": 1, "e": 4}
    assert record.failed == ("e",)
    assert json.loads(record_path(tmp_path / "part.2.rttm").read_text())["settings"] == {
        "model": "m"
    }
