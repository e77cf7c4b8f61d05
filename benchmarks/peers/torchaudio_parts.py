"""Import torchaudio where its compiled part does not load, with the names that peers still expect.

The wheels for Linux link CUDA, and beside a CPU build of torch the compiled part, which serves
forced alignment alone, takes everything else down with it. Versions since 2.9 no longer read files
and lack the names for it, which pyannote.audio 3 imports; the adapters read files themselves.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def import_torchaudio() -> ModuleType:
    """Return torchaudio, without its compiled part where that cannot be loaded."""
    try:
        return import_module("torchaudio")
    except OSError:
        for name in [name for name in sys.modules if name.startswith("torchaudio")]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _without_extension()
        return import_module("torchaudio")


def complete_torchaudio() -> None:
    """Give torchaudio the names for reading files that pyannote.audio 3 imports."""
    torchaudio: Any = import_torchaudio()
    absent = {
        "AudioMetaData": object,
        "info": None,
        "list_audio_backends": lambda: ["soundfile"],
        "get_audio_backend": lambda: "soundfile",
        "set_audio_backend": lambda name: None,
    }
    for name, value in absent.items():
        if not hasattr(torchaudio, name):
            setattr(torchaudio, name, value)


def _without_extension() -> ModuleType:
    module = ModuleType("torchaudio._extension")
    module.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        fail_if_no_align=lambda function: function,
    )
    return module
