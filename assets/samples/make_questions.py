#!/usr/bin/env python3
"""Speaks question.wav and long_question.wav with the starter pack's Kokoro voice; 16 kHz mono, 16 bit.

Why: recordings for the examples and tests that may be passed on: a synthetic voice of Apache-2.0 weights, nobody's own.
Needs numpy, onnxruntime, soxr, soundfile, the program espeak-ng (phonemes) and the installed model folder.
Use: make_questions.py MODEL_FOLDER [OUT_FOLDER]
"""

import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import soundfile
import soxr

VOICE, RATE_HZ, OUT_HZ = "jm_kumo", 24000, 16000
LEAD_S, GAP_S, TAIL_S, PEAK = 0.3, 0.35, 0.7, 0.7
TEXTS = {
    "question.wav": ["What is the capital of France?"],
    "long_question.wav": ["I am planning a trip to Paris next spring with my family.",
                          "Could you tell me which three places we should visit first?"],
}


def speak(session, vocab, voice, text):
    command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", text]
    phonemes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() + text[-1]
    ids = [vocab[c] for c in phonemes.replace("\n", " ") if c in vocab]
    audio = session.run(None, {"tokens": np.array([[0, *ids, 0]], np.int64), "speed": np.ones(1, np.float32),
                               "style": voice[len(ids) - 1].reshape(1, 256)})[0].ravel()
    loud = np.flatnonzero(np.abs(audio) > 0.01)
    return audio[max(0, loud[0] - 480):loud[-1] + 480]


def main(model, out):
    session = onnxruntime.InferenceSession(os.path.join(model, "kokoro-v1.0.int8.onnx"),
                                           providers=["CPUExecutionProvider"])
    with open(os.path.join(model, "vocab.json"), encoding="utf-8") as stream:
        vocab = json.load(stream)["vocab"]
    voice = np.load(os.path.join(model, "voices", VOICE + ".npy"))

    def silence(seconds):
        return np.zeros(int(seconds * RATE_HZ), np.float32)

    for name, sentences in TEXTS.items():
        spoken = [speak(session, vocab, voice, s) for s in sentences]
        parts = [silence(LEAD_S), spoken[0]]
        for audio in spoken[1:]:
            parts += [silence(GAP_S), audio]
        audio = soxr.resample(np.concatenate(parts + [silence(TAIL_S)]), RATE_HZ, OUT_HZ, "VHQ")
        soundfile.write(os.path.join(out, name), audio / np.abs(audio).max() * PEAK, OUT_HZ, subtype="PCM_16")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("use: make_questions.py MODEL_FOLDER [OUT_FOLDER]")
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else os.path.dirname(os.path.abspath(__file__)))
