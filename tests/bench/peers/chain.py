"""The sequential chain that `morph bench speech` is compared with: silero-vad, faster-whisper, llama.cpp and Piper as
their own libraries, each beginning when the one before has ended.

  chain.py WAV VAD_FOLDER CT2_FOLDER GGUF_FOLDER PIPER_FOLDER THREADS END_SILENCE_S SPEECH_END_S SYSTEM

The recording is not paced: when the detector would have spoken is known from its windows, and the time its own work
takes (well under a window) is left out in its favour.
"""
import glob
import json
import sys
import time

import numpy
import onnxruntime
import soundfile
import xllamacpp
from faster_whisper import WhisperModel
from piper import PiperVoice

import answering

RATE, WINDOW, CONTEXT = 16000, 512, 64


def one(folder, pattern):
    found = sorted(glob.glob(f"{folder}/{pattern}"))
    if not found:
        sys.exit(f"{folder}: expected {pattern} in it")
    return found[0]


def turn_end(detector, samples, end_silence):
    """Sample at which the detector, having heard `end_silence` seconds of silence, says that the turn is over."""
    state, context = numpy.zeros((2, 1, 128), numpy.float32), numpy.zeros(CONTEXT, numpy.float32)
    last = None
    for i in range(0, len(samples) - WINDOW + 1, WINDOW):
        window = samples[i:i + WINDOW]
        probability, state = detector.run(None, {"input": numpy.concatenate([context, window])[None], "state": state})
        context = window[-CONTEXT:]
        if probability[0, 0] > 0.5:
            last = i + WINDOW
        elif last is not None and (i + WINDOW - last) / RATE >= end_silence:
            return i + WINDOW
    return len(samples)


def load_llm(gguf, threads):
    options = xllamacpp.CommonParams()
    options.model.path = gguf
    options.n_ctx, options.n_parallel, options.verbosity = 2048, 1, 0
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    options.warmup, options.cache_prompt, options.fit_params = True, False, False
    return xllamacpp.Server(options)


def main():
    wav, vad, ct2, gguf, piper = sys.argv[1:6]
    threads, end_silence, speech_end = int(sys.argv[6]), float(sys.argv[7]), float(sys.argv[8])
    system = sys.argv[9]
    reply = answering.take_stdout()
    single = onnxruntime.SessionOptions()
    single.intra_op_num_threads = 1
    detector = onnxruntime.InferenceSession(one(vad, "*16k*.onnx"), single)
    recogniser = WhisperModel(ct2, device="cpu", compute_type="int8", cpu_threads=threads)
    llm = load_llm(one(gguf, "*.gguf"), threads)
    voice = PiperVoice.load(one(piper, "*.onnx"))
    samples, rate = soundfile.read(wav, dtype="float32")
    assert rate == RATE, rate
    samples = numpy.concatenate([samples, numpy.zeros(2 * RATE, numpy.float32)])
    fired = turn_end(detector, samples, end_silence)

    def once():
        times, start = {}, time.perf_counter()

        def lap(name):
            nonlocal start
            now = time.perf_counter()
            times[name], start = now - start, now

        heard = "".join(s.text for s in recogniser.transcribe(
            samples[:fired], language="en", beam_size=1, without_timestamps=True,
            condition_on_previous_text=False)[0]).strip()
        lap("hear")
        answer = llm.handle_chat_completions({"messages": [
            {"role": "system", "content": system}, {"role": "user", "content": heard}],
            "temperature": 0, "max_tokens": 256, "cache_prompt": False})
        answer = json.loads(answer) if isinstance(answer, str) else answer
        text = answer["choices"][0]["message"]["content"].strip()
        lap("answer")
        first = None
        for chunk in voice.synthesize(text):
            if first is None and numpy.abs(chunk.audio_float_array).max() > 0.01:
                first = time.perf_counter() - start
        lap("speak")
        before = fired / RATE - speech_end + times["hear"] + times["answer"]
        return {"wait_whole": before + times["speak"], "wait_first_sentence": before + (first or times["speak"]),
                "parts": times, "heard": heard, "answer": text}

    answering.serve(reply, once)


if __name__ == "__main__":
    main()
