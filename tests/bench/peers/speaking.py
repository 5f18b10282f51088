"""Piper's own library speaking a text once for each "go", as a peer of `morph bench busy`.

  speaking.py PIPER_FOLDER TEXT_FILE THREADS
"""
import glob
import sys
import time

from piper import PiperVoice

import answering


def main():
    piper, text_file, _threads = sys.argv[1:]  # piper-tts leaves the threads to onnxruntime: all cores
    reply = answering.take_stdout()
    voice = PiperVoice.load(sorted(glob.glob(f"{piper}/*.onnx"))[0])
    with open(text_file, encoding="utf-8") as stream:
        text = stream.read().strip()

    def once():
        start = time.perf_counter()
        for _chunk in voice.synthesize(text):
            pass
        return {"seconds": time.perf_counter() - start}

    answering.serve(reply, once)


if __name__ == "__main__":
    main()
