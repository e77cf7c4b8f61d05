"""Audio in and out: any recording as a stream of 16 kHz mono blocks, in constant memory."""

from audioseg_xai.audio.problems import TruncatedAudioError
from audioseg_xai.audio.reader import AudioReader, read_audio
from audioseg_xai.audio.writer import write_audio, write_wav

__all__ = ["AudioReader", "TruncatedAudioError", "read_audio", "write_audio", "write_wav"]
