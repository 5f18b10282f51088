"""Piper's voice heard by faster-whisper, as a peer of `morph bench voice`: one transcript per line of the text file.

  voice.py PIPER_FOLDER CT2_FOLDER TEXT_FILE THREADS
"""
import glob
import sys
import time

import numpy
import soxr
from faster_whisper import WhisperModel
from piper import PiperVoice

import answering


def main():
    piper, ct2, text_file, threads = sys.argv[1:]
    reply = answering.take_stdout()
    voice = PiperVoice.load(sorted(glob.glob(f"{piper}/*.onnx"))[0])
    recogniser = WhisperModel(ct2, device="cpu", compute_type="float32", cpu_threads=int(threads))
    with open(text_file, encoding="utf-8") as stream:
        sentences = [line.strip() for line in stream if line.strip()]

    def once():
        heard, seconds, spoken = [], 0.0, 0.0
        for sentence in sentences:
            start = time.perf_counter()
            samples = numpy.concatenate([chunk.audio_float_array for chunk in voice.synthesize(sentence)])
            seconds += time.perf_counter() - start
            spoken += len(samples) / voice.config.sample_rate
            samples = soxr.resample(samples, voice.config.sample_rate, 16000).astype(numpy.float32)
            heard.append("".join(s.text for s in recogniser.transcribe(samples, language="en")[0]).strip())
        return {"heard": heard, "speak_seconds": seconds, "spoken_s": spoken}

    answering.serve(reply, once)


if __name__ == "__main__":
    main()
