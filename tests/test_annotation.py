"""RTTM and UEM files, segments, and frames made of segments."""

from __future__ import annotations

import io
import itertools
import pickle
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyannote.database.util import load_rttm, load_uem

from audioseg_xai.annotation import (
    Segment,
    check_uri,
    crop,
    merge_regions,
    read_rttm,
    read_uem,
    rttm_lines,
    safe_uri,
    write_rttm,
    write_uem,
)
from audioseg_xai.errors import AnnotationError
from audioseg_xai.frame_labels import frames_to_segments, runs, segments_to_frames
from audioseg_xai.labels import CLASSES
from audioseg_xai.textfields import write_lines

LINE = "SPEAKER show 1 2.500 8.000 <NA> <NA> music <NA> <NA>\n"


def written(annotations):
    out = io.StringIO()
    write_rttm(annotations, out)
    return out.getvalue()


def rounded(segment):
    return round(segment.onset, 3), segment.label, round(segment.offset, 3)


@st.composite
def segments(draw, shortest=1e-6):
    onset = draw(st.floats(0, 3600))
    duration = draw(st.floats(shortest, 60.0))
    confidence = draw(st.none() | st.floats(0, 1))
    return Segment(onset, onset + duration, draw(st.sampled_from(CLASSES)), confidence)


def annotations(shortest=1e-6):
    return st.dictionaries(
        st.text("abcXYZ019_-.", min_size=1).map("r".__add__),
        st.lists(segments(shortest), min_size=1, max_size=5),
        max_size=4,
    )


class TestSegment:
    def test_duration_and_order(self):
        late, early = Segment(1.0, 2.5, "music"), Segment(0.0, 9.0, "speech", 0.5)
        assert late.duration == 1.5
        assert sorted([late, early, Segment(0.0, 9.0, "speech")]) == [
            Segment(0.0, 9.0, "speech"),
            early,
            late,
        ]

    @pytest.mark.parametrize(
        ("onset", "offset", "message"),
        [
            (-0.1, 1.0, "negative"),
            (1.0, 1.0, "not after"),
            (2.0, 1.0, "not after"),
            (0.0, float("inf"), "finite"),
            (float("nan"), 1.0, "finite"),
        ],
    )
    def test_refuses_what_is_no_stretch_of_time(self, onset, offset, message):
        with pytest.raises(AnnotationError, match=message):
            Segment(onset, offset, "speech")


class TestReadRttm:
    def test_segments_by_uri_sorted(self, tmp_path):
        path = tmp_path / "a.rttm"
        path.write_text(
            "SPEAKER b 1 5.0 1.0 <NA> <NA> sp 0.75 <NA>\n"
            "SPEAKER a 0 1.0 0.5 <NA> <NA> overlap <NA> <NA>\n"
            "SPEAKER b 1 2.0 1.5 <NA> <NA> MU <NA> <NA>\n"
        )
        assert read_rttm(path) == {
            "b": [Segment(2.0, 3.5, "music"), Segment(5.0, 6.0, "speech", 0.75)],
            "a": [Segment(1.0, 1.5, "overlap")],
        }

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbf" + LINE.encode(),
            LINE.replace("\n", "\r\n").encode(),
            LINE.replace("\n", "\r").encode(),
            LINE.replace(" ", "\t").encode(),
            LINE.strip().encode(),
            b";; a comment\n\n" + LINE.encode(),
            b"SPKR-INFO show 1 <NA> <NA> <NA> unknown music <NA>\n" + LINE.encode(),
            LINE.replace(" <NA>\n", "\n").encode(),  # nine fields, as before 2009
        ],
        ids=["bom", "crlf", "cr", "tabs", "no-newline", "comment", "spkr-info", "nine-fields"],
    )
    def test_tolerated(self, tmp_path, content):
        path = tmp_path / "a.rttm"
        path.write_bytes(content)
        expected = {"show": [Segment(2.5, 10.5, "music")]}
        assert read_rttm(path) == read_rttm(str(path)) == expected
        assert read_rttm(io.BytesIO(content)) == expected
        assert read_rttm(io.StringIO(content.decode(), newline="")) == expected

    def test_raw_labels_keep_speaker_names(self):
        line = LINE.replace("music", "Jean_Dupont")
        assert read_rttm(io.StringIO(line), raw_labels=True)["show"][0].label == "Jean_Dupont"

    def test_empty_file_is_no_recordings(self):
        assert read_rttm(io.StringIO("")) == {}

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("SPEAKER my show 1 2.5 8.0 <NA> <NA> mu <NA> <NA>", "expected 10 fields, found 11"),
            ("SPEAKER show 1 2.5 8.0 <NA> <NA> mu", "expected 10 fields, found 8"),
            ("show 1 2.5 8.0", "begins with SPEAKER, found 'show'"),
            (LINE.replace("2.500", "2,5"), "onset '2,5' is not a number"),
            (LINE.replace("8.000", "x"), "duration 'x' is not a number"),
            (LINE.replace("8.000", "0"), "duration 0 is not positive"),
            (LINE.replace("8.000", "-1"), "duration -1 is not positive"),
            (LINE.replace("2.500", "-2.5"), "onset -2.5 is negative"),
            (LINE.replace("2.500", "nan"), "onset 'nan' is not finite"),
            (LINE.replace("8.000", "inf"), "duration 'inf' is not finite"),
            (LINE.replace("2.500", "1e300"), "offset 1e.300 is not after"),
            (LINE.replace("music", "spk7"), "unknown class 'spk7'.*xai-segment prepare"),
            (LINE.replace("music <NA>", "music sure"), "confidence 'sure' is not a number"),
            (LINE.replace(" 1 ", " 2 "), "channel '2': expected 0 or 1"),
        ],
    )
    def test_bad_line_is_named_with_its_number(self, tmp_path, line, message):
        path = tmp_path / "bad.rttm"
        path.write_text(LINE + ";;\n" + line)
        with pytest.raises(AnnotationError, match=f"bad.rttm:3: .*{message}") as caught:
            read_rttm(path)
        assert "\n" not in str(caught.value)

    def test_missing_file(self, tmp_path):
        with pytest.raises(AnnotationError, match=r"none\.rttm: cannot be read: No such file"):
            read_rttm(tmp_path / "none.rttm")

    def test_not_text(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(b"RIFF\xff\xfe\x00\x80")
        with pytest.raises(AnnotationError, match=r"a\.wav: not UTF-8"):
            read_rttm(path)


class TestWriteRttm:
    def test_ten_fields_sorted_by_uri_onset_label(self):
        text = written(
            {
                "b": [Segment(0.0, 1.0, "speech")],
                "a": [
                    Segment(3.0, 4.0, "speech"),
                    Segment(0.5, 9.0, "speech", 0.91),
                    Segment(0.5, 10.0, "music"),
                ],
            }
        )
        assert text.splitlines() == [
            "SPEAKER a 1 0.500 9.500 <NA> <NA> music <NA> <NA>",
            "SPEAKER a 1 0.500 8.500 <NA> <NA> speech 0.910 <NA>",
            "SPEAKER a 1 3.000 1.000 <NA> <NA> speech <NA> <NA>",
            "SPEAKER b 1 0.000 1.000 <NA> <NA> speech <NA> <NA>",
        ]

    def test_more_decimals_where_a_segment_would_vanish(self):
        lines = list(rttm_lines("a", [Segment(1.0001, 1.00012, "noise")]))
        assert lines == ["SPEAKER a 1 1.00010 0.00002 <NA> <NA> noise <NA> <NA>"]

    def test_segments_that_touch_still_touch(self):
        """Onsets round down and lengths round up: 0.0004 + 1.0002 and 1.0006 + 1."""
        first, second = rttm_lines(
            "a", [Segment(0.0004, 1.0006, "speech"), Segment(1.0006, 2.0006, "speech")]
        )
        assert first.split()[3:5] == ["0.000", "1.001"]
        assert second.split()[3] == "1.001"

    @pytest.mark.parametrize("uri", ["", "my show", "tab\there", ";;comment", "a\u00a0b"])
    def test_uri_that_rttm_cannot_hold(self, uri):
        with pytest.raises(AnnotationError, match="cannot name a recording"):
            written({uri: [Segment(0.0, 1.0, "speech")]})

    def test_label_that_rttm_cannot_hold(self):
        with pytest.raises(AnnotationError, match="'two words'"):
            written({"a": [Segment(0.0, 1.0, "two words")]})

    def test_failure_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.rttm"
        path.write_text(LINE)
        with pytest.raises(AnnotationError):
            write_rttm({"a": [Segment(0.0, 1.0, "x y")]}, path)
        assert path.read_text() == LINE
        assert list(tmp_path.iterdir()) == [path]

    @given(annotations())
    def test_reads_back_within_a_millisecond(self, content):
        again = read_rttm(io.StringIO(written(content)))
        assert again.keys() == content.keys()
        for uri, expected in content.items():
            pairs = zip(sorted(expected, key=rounded), sorted(again[uri], key=rounded), strict=True)
            for a, b in pairs:
                assert a.label == b.label
                assert abs(a.onset - b.onset) <= 0.00051
                assert abs(a.offset - b.offset) <= 0.00101  # a short one may grow to a millisecond

    @given(annotations(shortest=0.002))
    def test_writing_what_was_read_changes_nothing(self, content):
        text = written(content)
        assert written(read_rttm(io.StringIO(text))) == text

    def test_pyannote_reads_the_same(self, tmp_path):
        rng = np.random.default_rng(7)
        annotations = {
            f"r{i}": [
                Segment(onset, onset + length, CLASSES[k % 4], 0.5 if k % 2 else None)
                for k, (onset, length) in enumerate(rng.uniform(0.0005, 60, (20, 2)))
            ]
            for i in range(3)
        }
        path = tmp_path / "a.rttm"
        write_rttm(annotations, path)
        ours, theirs = read_rttm(path), load_rttm(path)
        assert ours.keys() == theirs.keys()
        for uri, found in ours.items():
            rows = sorted((s.start, s.end, label) for s, _, label in theirs[uri].itertracks(True))
            assert rows == sorted((s.onset, s.offset, s.label) for s in found)


class TestOrder:
    @given(
        st.lists(
            st.builds(
                lambda a, n, c, p: Segment(a, a + n, c, p),
                st.floats(0, 0.01),
                st.floats(1e-9, 0.01),
                st.sampled_from(CLASSES),
                st.none() | st.floats(0, 1),
            ).filter(lambda s: s.offset > s.onset)
        )
    )
    def test_lines_are_sorted_as_written_however_close_their_onsets(self, segments):
        lines = list(rttm_lines("a", segments))
        assert sorted(lines) == sorted(line for s in segments for line in rttm_lines("a", [s]))
        keys = [(Decimal(f[3]), f[7], Decimal(f[4]), f[8]) for f in map(str.split, lines)]
        assert keys == sorted(keys)

    def test_a_line_that_cannot_be_written_leaves_what_was_there(self, tmp_path):
        path = tmp_path / "a.rttm"
        path.write_text("before")
        bad = [Segment(0, 1, "music"), Segment(5, 6, "two words")]
        with pytest.raises(AnnotationError, match="two words"):
            write_lines(rttm_lines("a", bad), path)
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]

    def test_segments_are_small_and_travel_between_processes(self):
        segment = Segment(0.5, 1.0, "music", 0.75)
        assert pickle.loads(pickle.dumps(segment)) == segment
        assert not hasattr(segment, "__dict__")


class TestUem:
    def test_start_and_end_sorted_and_merged(self):
        text = "a 1 10 20.5\na NA 0 5\nb 0 3 4\na 1 4 6\n"
        assert read_uem(io.StringIO(text)) == {"a": [(0.0, 6.0), (10.0, 20.5)], "b": [(3.0, 4.0)]}

    def test_write_then_read_here_and_with_pyannote(self, tmp_path):
        regions = {"b": [(0.0, 600.0)], "a": [(7.25, 9.0), (0.5, 1.0)]}
        path = tmp_path / "all.uem"
        write_uem(regions, path)
        assert path.read_text() == "a 1 0.500 1.000\na 1 7.250 9.000\nb 1 0.000 600.000\n"
        assert read_uem(path) == {uri: sorted(rows) for uri, rows in regions.items()}
        assert [tuple(s) for s in load_uem(path)["a"]] == [(0.5, 1.0), (7.25, 9.0)]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("a 1 0", "expected 4 fields, found 3"),
            ("a b 1 0 5", "expected 4 fields, found 5"),
            ("a 1 zero 5", "onset 'zero' is not a number"),
            ("a 1 5 5", "not after"),
            ("a 1 -1 5", "negative"),
            ("a 1 0 nan", "not finite"),
            ("a 3 0 5", "channel '3'"),
        ],
    )
    def test_bad_line_is_named_with_its_number(self, tmp_path, line, message):
        path = tmp_path / "bad.uem"
        path.write_text(f"ok 1 0 5\r\n{line}\r\n")
        with pytest.raises(AnnotationError, match=f"bad.uem:2: .*{message}"):
            read_uem(path)

    def test_merge_regions_by_hand(self):
        # |--|     |---|
        #   |--|    |-|   |-|
        regions = [(9.0, 12.0), (0.0, 3.0), (3.0, 5.0), (10.0, 11.0), (15.0, 16.0)]
        assert merge_regions(regions) == [(0.0, 5.0), (9.0, 12.0), (15.0, 16.0)]


class TestUris:
    @pytest.mark.parametrize(
        ("path", "uri"),
        [
            ("/a/b/News of May.flac", "News_of_May"),
            (Path("x.tar.wav"), "x.tar"),
            ("été\u00a01.mp3", "été_1"),
            (b"caf\xe9.wav".decode("utf-8", "surrogateescape"), "caf_"),
        ],
    )
    def test_safe_uri(self, path, uri):
        assert safe_uri(path) == uri == check_uri(uri)

    def test_no_name_is_refused(self):
        with pytest.raises(AnnotationError, match="cannot name"):
            safe_uri("")

    @given(st.text(min_size=1).filter(lambda s: Path(s).stem and not s.startswith(";;")))
    def test_safe_uri_survives_rttm(self, name):
        if Path(name).stem.startswith(";;"):
            return
        uri = safe_uri(name)
        assert list(read_rttm(io.StringIO(written({uri: [Segment(0, 1, "music")]})))) == [uri]


class TestFrames:
    def test_frames_by_hand(self):
        """Centres lie at 12.5, 32.5, 52.5, 72.5, 92.5 ms.

        frame     |  0  |  1  |  2  |  3  |  4  |
        centre       .     .     .     .     .
        speech       |-----------)                   12.5 to 52.5 ms: frames 0 and 1
        music           |------------|               20 to 60 ms: frames 1 and 2
        """
        found = segments_to_frames(
            [Segment(0.0125, 0.0525, "speech"), Segment(0.02, 0.06, "music")],
            5,
            classes=("speech", "music"),
        )
        assert found.dtype == np.int8
        assert found.T.tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0]]

    def test_segment_between_two_centres_labels_nothing(self):
        assert not segments_to_frames([Segment(0.013, 0.032, "speech")], 3).any()

    def test_unknown_classes_and_outside_of_uem(self):
        found = segments_to_frames(
            [Segment(0.0, 1.0, "speech"), Segment(0.0, 1.0, "noise")],
            4,
            classes=("speech", "noise"),
            known=("speech",),
            uem=[(0.02, 0.06)],
        )
        assert found.T.tolist() == [[-1, 1, 1, -1], [-1, -1, -1, -1]]

    def test_segment_beyond_the_end_and_label_beyond_the_classes(self):
        assert segments_to_frames([Segment(0.0, 99.0, "music")], 2)[:, 1].tolist() == [1, 1]
        assert segments_to_frames([Segment(98.0, 99.0, "music")], 2).sum() == 0
        with pytest.raises(AnnotationError, match="'spk1' is not in"):
            segments_to_frames([Segment(0.0, 1.0, "spk1")], 2)

    def test_segments_by_hand(self):
        """Frame 4 is the last and reaches to the end of 113 ms of audio.

        frame     0  1  2  3  4
        speech    X  X  .  .  X
        music     .  X  X  .  .
        """
        active = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [1, 0]], dtype=bool)
        assert frames_to_segments(active, ("speech", "music"), 0.113) == [
            Segment(0.0, 0.04, "speech"),
            Segment(0.02, 0.06, "music"),
            Segment(0.08, 0.113, "speech"),
        ]
        assert frames_to_segments(active, ("speech", "music"))[-1].offset == 0.1

    def test_nothing_active_and_no_frames(self):
        assert frames_to_segments(np.zeros((5, 4), bool)) == []
        assert frames_to_segments(np.zeros((0, 4), bool), duration=0.01) == []

    @pytest.mark.parametrize("shape", [(5,), (5, 3)])
    def test_wrong_shape(self, shape):
        with pytest.raises(AnnotationError, match=r"not \(T, 4\)"):
            frames_to_segments(np.zeros(shape, bool))

    def test_duration_that_ends_before_the_last_frame(self):
        with pytest.raises(AnnotationError, match="cannot have 5 frames"):
            frames_to_segments(np.ones((5, 4), bool), duration=0.08)

    @given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), max_size=60))
    def test_frames_segments_frames_is_identity(self, rows):
        active = np.array(rows, dtype=bool).reshape(-1, 4)
        duration = len(active) * 0.02 + 0.007 if rows else None
        found = frames_to_segments(active, CLASSES, duration)
        assert np.array_equal(segments_to_frames(found, len(active)), active)
        text = written({"a": found})
        again = read_rttm(io.StringIO(text)).get("a", [])
        assert np.array_equal(segments_to_frames(again, len(active)), active)

    @given(st.lists(st.booleans(), max_size=50))
    def test_runs_cover_exactly_what_is_true(self, values):
        vector = np.array(values, dtype=bool)
        covered = np.zeros(len(vector), dtype=bool)
        found = runs(vector)
        for first, last in found:
            covered[first:last] = True
        assert np.array_equal(covered, vector)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


def test_crop_by_hand():
    # |--a--|   |--b--|  |c|      crop to 2 .. 6
    found = crop(
        [Segment(0, 3, "speech", 0.5), Segment(5, 8, "music"), Segment(9, 10, "noise")], 2, 6
    )
    assert found == [Segment(2, 3, "speech", 0.5), Segment(5, 6, "music")]
