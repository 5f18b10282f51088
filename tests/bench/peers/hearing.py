"""A recogniser as a peer of `morph bench hearing`: loads, then writes down the recording for each line "go".

  hearing.py whisper.cpp HF_FOLDER GGML_FILE BEAM WAV THREADS
  hearing.py faster-whisper CT2_FOLDER COMPUTE_TYPE BEAM WAV THREADS
"""
import os
import sys
import time

import soundfile
import soxr

import answering


def load(engine, model, form, beam, threads):
    """A function from samples (16 kHz) to text."""
    if engine == "whisper.cpp":
        import whisper_to_ggml
        from pywhispercpp.model import Model
        if not os.path.exists(form):
            whisper_to_ggml.convert(model, form)
        if beam == 1:
            recogniser = Model(form, n_threads=threads, print_progress=False, print_realtime=False)
        else:
            recogniser = Model(form, n_threads=threads, print_progress=False, print_realtime=False,
                               params_sampling_strategy=1, beam_search={"beam_size": beam, "patience": -1.0})
        return lambda samples: " ".join(s.text.strip() for s in recogniser.transcribe(samples, language="en"))
    from faster_whisper import WhisperModel
    recogniser = WhisperModel(model, device="cpu", compute_type=form, cpu_threads=threads)
    return lambda samples: "".join(s.text for s in recogniser.transcribe(samples, language="en", beam_size=beam)[0])


def main():
    engine, model, form, beam, wav, threads = sys.argv[1:]
    reply = answering.take_stdout()
    transcribe = load(engine, model, form, int(beam), int(threads))

    def once():
        start = time.perf_counter()
        samples, rate = soundfile.read(wav, dtype="float32")
        if rate != 16000:
            samples = soxr.resample(samples, rate, 16000)
        text = transcribe(samples)
        return {"seconds": time.perf_counter() - start, "text": text}

    answering.serve(reply, once)


if __name__ == "__main__":
    main()
