"""Sounds as WAV files of 16 bits and back."""

import io
import wave

import numpy as np

_ROUNDING = 1e-3  # how far outside [-1, 1] is a rounding error, not a mistake


def as_clips(where: str, samples: np.ndarray) -> np.ndarray:
    """Returns sounds as `(clips, frames, channels)` int16, from `(frames,)`, `(frames, channels)` or all three axes."""
    clips = samples[None, :, None] if samples.ndim == 1 else samples[None] if samples.ndim == 2 else samples
    if clips.ndim != 3 or 0 in clips.shape or clips.shape[-1] > 8:
        hint = "; channels come last" if clips.ndim == 3 and clips.shape[-1] > 8 else ""
        raise ValueError(
            f"{where}: samples must have shape (frames,), (frames, channels) or (clips, frames, channels) with 1 to 8 channels, "
            f"got {samples.shape}{hint}"
        )
    if clips.dtype == np.int16:
        return clips
    if clips.dtype.kind != "f":
        raise TypeError(f"{where}: samples must be int16 or float in [-1, 1], got {clips.dtype}")
    if not np.isfinite(clips).all():
        raise ValueError(f"{where}: samples must be finite, got {int((~np.isfinite(clips)).sum())} that are NaN or inf")
    peak = float(np.abs(clips).max())
    if peak > 1 + _ROUNDING:
        raise ValueError(f"{where}: samples of floats must be in [-1, 1], got a peak of {peak:g}; divide by it?")
    return np.clip(np.rint(clips.astype(np.float64) * 32767), -32767, 32767).astype(np.int16)


def encode(clip: np.ndarray, sample_rate: int) -> bytes:
    """Returns `(frames, channels)` int16 as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(clip.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.ascontiguousarray(clip, "<i2").tobytes())
    return buffer.getvalue()


def decode(encoded: bytes) -> tuple[np.ndarray, int]:
    """Returns a WAV file of 16 bits as `(frames, channels)` float32 in [-1, 1], and its sample rate."""
    with wave.open(io.BytesIO(encoded), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"read: only WAV files of 16 bits are read, got {8 * file.getsampwidth()}")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return (samples / 32767).astype(np.float32), file.getframerate()
