"""Segment a 16 kHz recording with an exported graph: ONNX Runtime, NumPy and soundfile, no more.

    xai-segment export-onnx --output model.onnx
    python examples/onnx_segment.py model.onnx recording.wav > recording.rttm

Gives what `xai-segment segment` gives, of a recording of any length: it goes through in chunks,
with as much context as the graph says that its results depend on.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

CHUNK = 3000  # frames at once, a multiple of every stride


def probabilities(session, meta, sound):
    """Return the probability of each class in each frame, shape (T, C)."""
    hop, window, context = meta["hop"], meta["window"], meta["context"]
    frames, parts = 1 + (sound.frames - window) // hop, []
    for start in range(0, frames, CHUNK):
        first, last = max(0, start - context), min(start + CHUNK + context, frames)
        sound.seek(first * hop)
        # One sample more would be the next frame.
        samples = sound.read((last - first) * hop + window - 1, np.float32, always_2d=True)
        found = session.run(["probabilities"], {"waveform": samples.mean(axis=1)[None]})[0]
        parts.append(found[0, start - first :][:CHUNK][: frames - start])
    return np.concatenate(parts)


def runs(p, onset, offset, min_duration, min_gap, shift):
    """Return [first frame, frame behind the last] of each segment of a class."""
    said = np.where(p >= onset, 1, np.where(p < offset, 0, -1))
    last = np.maximum.accumulate(np.where(said >= 0, np.arange(len(p)), 0))
    active = said[last] == 1  # between the thresholds: what was said before
    found = []
    for first, stop in np.flatnonzero(np.diff(active, prepend=False, append=False)).reshape(-1, 2):
        if found and first - found[-1][1] < round(min_gap / shift, 6):
            found[-1][1] = stop
        else:
            found.append([first, stop])
    return [run for run in found if run[1] - run[0] >= round(min_duration / shift, 6)]


def main(model, recording):
    """Print the RTTM of a recording."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    stored = session.get_modelmeta().custom_metadata_map
    meta = {key: json.loads(value) for key, value in stored.items()}
    shift, uri, lines = meta["frame_shift"], "_".join(Path(recording).stem.split()), []
    with soundfile.SoundFile(recording) as sound:
        if sound.samplerate != meta["sample_rate"] or sound.frames < meta["window"]:
            sys.exit(f"{recording}: needs {meta['window']} samples or more at 16 kHz: resample it")
        found, duration = probabilities(session, meta, sound), sound.frames / sound.samplerate
    for label, rule in meta["decoding"].items():
        p = found[:, meta["classes"].index(label)]
        for first, stop in runs(p, **rule, shift=shift):
            onset = round(first * shift, 3)
            offset = round(duration if stop == len(p) else stop * shift, 3)
            lines.append((onset, label, offset - onset, p[first:stop].mean(dtype=float)))
    for onset, label, length, confidence in sorted(lines):
        print(f"SPEAKER {uri} 1 {onset:.3f} {length:.3f} <NA> <NA> {label} {confidence:.3f} <NA>")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python onnx_segment.py MODEL.onnx RECORDING > RECORDING.rttm")
    main(*sys.argv[1:])
