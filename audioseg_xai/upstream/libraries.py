"""Import s3prl, which expects an older torchaudio and, on a CPU, one that loads."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

from audioseg_xai.errors import ModelError


def wavlm_modules() -> tuple[ModuleType, ModuleType]:
    """Return s3prl's modules of WavLM, `hubconf` and `WavLM`, which need no torchaudio.

    Raises
    ------
    ModelError
        If s3prl is not installed.
    """
    _require("s3prl")
    folder = "s3prl.upstream.wavlm"
    return importlib.import_module(f"{folder}.hubconf"), importlib.import_module(f"{folder}.WavLM")


def hub() -> ModuleType:
    """Return s3prl's list of all upstreams.

    Raises
    ------
    ModelError
        If s3prl or torchaudio is not installed.
    """
    _require("s3prl")
    _require("torchaudio")
    _complete(_import_torchaudio())
    return importlib.import_module("s3prl.hub")


def _require(name: str) -> None:
    if name in sys.modules:
        return
    if importlib.util.find_spec(name) is None:
        raise ModelError(
            f"upstream models need the Python package {name}: pip install 'audioseg-xai[upstream]'"
        )


def _import_torchaudio() -> ModuleType:
    """Import torchaudio, without its compiled part where that wants libraries of a GPU.

    The wheels for Linux link CUDA: beside a CPU build of torch the compiled part, which serves
    forced alignment alone, does not load, and takes everything else down with it.
    """
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        for name in [name for name in sys.modules if name.startswith("torchaudio")]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _without_extension()
        return importlib.import_module("torchaudio")


def _without_extension() -> ModuleType:
    module = ModuleType("torchaudio._extension")
    module.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        fail_if_no_align=lambda function: _refuse("forced alignment of torchaudio"),
    )
    return module


def _complete(torchaudio: Any) -> None:
    """Give torchaudio the names that s3prl imports and that newer versions lack.

    None of them is needed for features: s3prl names them for reading files.
    """
    if not hasattr(torchaudio, "set_audio_backend"):
        # Called on import, to choose who reads files; here nobody reads files with torchaudio.
        torchaudio.set_audio_backend = lambda name: None
    effects = "torchaudio.sox_effects"
    if effects not in sys.modules and importlib.util.find_spec(effects) is None:
        sys.modules[effects] = ModuleType(effects)
        sys.modules[effects].__dict__["apply_effects_tensor"] = _refuse(effects)


def _refuse(what: str) -> Any:
    def refuse(*arguments: Any, **named: Any) -> NoReturn:
        raise ModelError(f"this upstream needs {what}, which is not there: take another upstream")

    return refuse
