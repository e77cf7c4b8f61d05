"""What happens to processes that explain; light, because they import it."""

from __future__ import annotations

import os

from audioseg_xai.explaining import _Explained, _WorkApart
from audioseg_xai.recordings import Recording


class DiesOfC(_WorkApart):
    """Dies when the part of the archive of a recording named `c` has been written."""

    def __call__(self, recording: Recording) -> _Explained:
        found = super().__call__(recording)
        if recording.uri == "c":
            os._exit(9)
        return found
