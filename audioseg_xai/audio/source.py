"""Where the bytes of a recording come from: a path, standard input or an open file."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import IO, BinaryIO

from audioseg_xai.audio import problems
from audioseg_xai.audio.headers import id3_bytes
from audioseg_xai.errors import AudioError

HEAD_BYTES = 4096
"""Bytes looked at before a decoder is chosen; a WAV header fits in."""

TAIL_BYTES = 1 << 17
"""Bytes looked at after decoding: an Ogg page has at most 65307, so a whole one is in them."""

LONGEST_TAG = 1 << 24
"""Bytes of an ID3 tag (pictures) that are kept to see the first MP3 frame behind it in a pipe."""


class Pipe:
    """A stream that cannot seek, whose first bytes were looked at already.

    Keeps its last bytes, because nobody can come back for them.

    Parameters
    ----------
    raw : file object
        What to read from.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.head = _read_full(raw, HEAD_BYTES)
        tag = id3_bytes(self.head)
        if 0 < tag <= LONGEST_TAG:
            self.head += _read_full(raw, tag)
        self._unread = io.BytesIO(self.head)
        self._tail = bytearray()
        self._ended = False

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        out = self._unread.read(size) or self._raw.read(size) or b""
        self._ended = not out
        self._tail += out
        del self._tail[:-TAIL_BYTES]
        return out

    def tail(self) -> bytes:
        """Return the last bytes, none while the end was not reached."""
        return bytes(self._tail) if self._ended else b""


class Source:
    """The bytes of one recording, open and seen to be there.

    Parameters
    ----------
    source : str, Path or BinaryIO
        A path, '-' for standard input, or a file open for reading bytes.

    Attributes
    ----------
    name : str
        What error messages call it.
    uri_name : str
        File name without folder, suffix and whitespace; 'stdin' for standard input.
    head : bytes
        Its first bytes.
    seekable : bool
        Whether it can be read from any place.
    file : file object or Pipe
        What a decoder reads from; at its start.

    Raises
    ------
    AudioError
        When there is no such file, when it cannot be opened, or when it is empty.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        self.name, self.uri_name = _names(source)
        self._owned = isinstance(source, (str, Path)) and str(source) != "-"
        raw = self._open(source)
        try:
            self._prepare(raw)
        except BaseException:
            self._close(raw)
            raise

    def close(self) -> None:
        """Close what was opened here; standard input and a caller's file stay open."""
        self._close(self._raw)

    def tail(self) -> bytes:
        """Return the last bytes and go back to the first; of a pipe once it was read to its end."""
        if isinstance(self.file, Pipe):
            return self.file.tail()
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(max(0, size - TAIL_BYTES))
        tail = _read_full(self.file, TAIL_BYTES)
        self.rewind()
        return tail

    def rewind(self) -> None:
        """Go back to the first byte, for the next decoder to try."""
        if not isinstance(self.file, Pipe):
            self.file.seek(0)

    def _prepare(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.seekable = raw.seekable()
        if self.seekable:
            raw.seek(0)
        self.file: IO[bytes] | Pipe = raw if self.seekable else Pipe(raw)
        self.head = _read_full(raw, HEAD_BYTES) if self.seekable else self.file.head  # type: ignore[union-attr]
        if not self.head:
            raise problems.is_empty(self.name)
        self.rewind()

    def _open(self, source: str | Path | BinaryIO) -> IO[bytes]:
        if not isinstance(source, (str, Path)):
            return source
        if str(source) == "-":
            return sys.stdin.buffer
        return self._open_path(Path(source))

    def _open_path(self, path: Path) -> IO[bytes]:
        try:
            # Unbuffered: libsndfile reads from the descriptor itself.
            return open(path, "rb", buffering=0)
        except FileNotFoundError:
            raise AudioError(f"{self.name}: no such file: check the path") from None
        except IsADirectoryError:
            raise AudioError(
                f"{self.name}: is a folder, not a recording: name the audio files in it"
            ) from None
        except OSError as error:
            raise AudioError(
                f"{self.name}: cannot be opened ({error.strerror}): check its permissions"
            ) from None

    def _close(self, raw: IO[bytes]) -> None:
        if self._owned:
            raw.close()


def _names(source: str | Path | BinaryIO) -> tuple[str, str]:
    if isinstance(source, (str, Path)):
        return ("standard input", "stdin") if str(source) == "-" else _path_names(source)
    name = getattr(source, "name", None)
    return _path_names(name) if isinstance(name, str) else ("stream", "stream")


def _path_names(path: str | Path) -> tuple[str, str]:
    return str(path), "_".join(Path(path).stem.split())


def _read_full(raw: IO[bytes], size: int) -> bytes:
    # A pipe may hand out less than was asked for before it ends.
    out = io.BytesIO()
    while out.tell() < size and (part := raw.read(size - out.tell())):
        out.write(part)
    return out.getvalue()
