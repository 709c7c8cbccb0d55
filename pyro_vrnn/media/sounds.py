"""Sound as wav files, with waveform and spectrogram."""

from __future__ import annotations

import io
import struct
import wave as waves
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media import pictures
from pyro_vrnn.media.medium import Array, Medium, Say, Shown, beside, silent
from pyro_vrnn.media.pages import drawn
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import cannot_write, write_bytes

LONGEST_SECONDS = 600
"""Of a sound that is read as a beginning; the rest is not decoded."""


class Sounds(Medium):
    """See the module's docstring."""

    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write a wav; if a sample is beyond 16 bits, all are turned down, and `gain` says by how much.

        After training on recordings that were turned down themselves, the wav is as loud as they were: of floats,
        as 16 bits have no numbers for that, and none is turned down.
        """
        import soundfile

        if form.gain != 1:
            return _write_floats(form, stored.reshape(-1), stem, caption)
        wave = stored.reshape(-1)
        peak = float(np.abs(wave).max())
        gain = min(1.0, 32767 / peak) if peak > 0 else 1.0
        samples = np.rint(wave * gain).astype(np.int16)
        path = beside(stem, ".wav")
        held = io.BytesIO()
        soundfile.write(held, samples, form.sample_rate, format="WAV", subtype="PCM_16")
        with cannot_write(path, len(samples) * 2):
            write_bytes(path, held.getvalue())
        picture = _picture(form, samples / 32768, stem, caption)
        facts = {"sample_rate": form.sample_rate, "samples": len(samples), "peak": peak / 32768, "gain": gain}
        return path, picture, facts

    def overview(self, form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> bool:
        """Draw several waveforms."""
        waves = [stored.reshape(-1) / (32768 * form.gain) for stored in sequences]
        pictures.waves(waves, path, titles, form.sample_rate, given * form.frame_length)
        return True

    def read(self, form: DataFormat, path: Path, say: Say = silent) -> Array:
        """Read the beginning of a sound file, int16 [T, frame]; what `prepare audio` would skip is refused.

        It is brought to the sample rate of the recordings that the model was trained on, as `prepare audio --resample`
        does it, and multiplied by their gain.
        """
        from pyro_vrnn.data.sources.decoding import Decoder, Recording, Tally, Unusable

        rate, samples, tally = form.sample_rate, 0, Tally()
        blocks = []
        try:
            with Decoder(rate, resample=True, gain=form.gain) as decoder:
                for block in decoder.read(Recording(path, path.name, path.stem, ""), tally):
                    blocks.append(block[: LONGEST_SECONDS * rate - samples])
                    samples += len(blocks[-1])
                    if len(blocks[-1]) < len(block):
                        say(f"note: {path}: its first {LONGEST_SECONDS} seconds are read")
                        break
        except Unusable as error:
            raise DataError(f"{path}: {error}", "give a wav, flac, ogg or mp3 file", path) from error
        if tally.rate != rate:
            say(f"note: {path}: resampled from {tally.rate} to {rate} samples per second, as the model has them")
        frames = samples // form.frame_length
        if frames == 0:
            raise DataError(f"{path}: shorter than a frame of {form.frame_length} samples", "give a longer one", path)
        return np.concatenate(blocks)[: frames * form.frame_length].reshape(frames, form.frame_length)

    def show(self, form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
        """Show the waveform and let it be heard, turned down where 16 bits cannot hold it."""
        heard = np.asarray(stored, np.float64).reshape(-1)
        most = max(1, int(seconds * form.sample_rate))
        note = f"The first {seconds:.1f} of {len(heard) / form.sample_rate:.1f} seconds." if len(heard) > most else ""
        heard = heard[:most]
        return Shown(svg=drawn.waveform(title, heard, form.sample_rate), wav=wav(heard, form.sample_rate), note=note)


def wav(samples: Array, rate: int) -> bytes:
    """A mono wav of 16-bit steps [samples], all turned down by one gain if some are beyond 16 bits."""
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    whole = np.rint(samples * min(1.0, 32767 / peak if peak > 0 else 1.0)).astype("<i2")
    held = io.BytesIO()
    with waves.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return held.getvalue()


def _write_floats(
    form: DataFormat, wave: Array, stem: Path, caption: Caption
) -> tuple[Path, Path | None, dict[str, Any]]:
    """Write 16-bit steps [samples] as a wav of floats, the gain undone; see `Sounds.write`."""
    samples = (wave / (32768 * form.gain)).astype("<f4")
    path = beside(stem, ".wav")
    # By hand: libsndfile puts the time of day into a wav of floats, and the same seed is to give the same file.
    rate, size = form.sample_rate, samples.nbytes
    head = struct.pack("<4sI4s4sIHHIIHHH", b"RIFF", 50 + size, b"WAVE", b"fmt ", 18, 3, 1, rate, 4 * rate, 4, 32, 0)
    head += struct.pack("<4sII4sI", b"fact", 4, len(samples), b"data", size)
    with cannot_write(path, size):
        write_bytes(path, head + samples.tobytes())
    facts = {"sample_rate": rate, "samples": len(samples), "peak": float(np.abs(samples).max()), "gain": 1.0}
    return path, _picture(form, samples, stem, caption), facts | {"data_gain": form.gain}


def _picture(form: DataFormat, wave: Array, stem: Path, caption: Caption) -> Path:
    """Draw amplitudes [samples]."""
    path, size = beside(stem, ".png"), form.frame_length
    hidden = None if caption.hidden is None else (caption.hidden[0] * size, caption.hidden[1] * size)
    pictures.sound(wave, form.sample_rate, path, Caption(caption.title, caption.given * size, hidden))
    return path
