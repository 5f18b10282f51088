"""WAV files for tests: any rate, channels and bits, from the samples of another or silent. Standard library only."""
import array
import struct
import sys
import wave


def header(n_bytes, rate, channels, bits):
    return (b"RIFF" + struct.pack("<I", 36 + n_bytes) + b"WAVEfmt " +
            struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits) +
            b"data" + struct.pack("<I", n_bytes))


def write_silence(path, seconds, rate=16000):
    """Mono, 16 bits; the file is sparse, so that an hour costs nothing to write."""
    n_bytes = int(seconds * rate) * 2
    with open(path, "wb") as out:
        out.write(header(n_bytes, rate, 1, 16))
        out.truncate(44 + n_bytes)


def read_mono(path):
    with wave.open(str(path)) as sound:
        assert sound.getnchannels() == 1 and sound.getsampwidth() == 2
        samples = array.array("h", sound.readframes(sound.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        return sound.getframerate(), samples


def halve_rate(samples):
    """Every second sample after a short low-pass."""
    padded = [samples[0], *samples, samples[-1]]
    return [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) // 4 for i in range(0, len(samples), 2)]


def write(path, samples, rate, channels=1, bits=16):
    """The same samples (16-bit numbers) on every channel."""
    data = bytearray()
    for sample in samples:
        value = sample << (bits - 16)
        data += value.to_bytes(bits // 8, "little", signed=True) * channels
    with open(path, "wb") as out:
        out.write(header(len(data), rate, channels, bits) + data)
