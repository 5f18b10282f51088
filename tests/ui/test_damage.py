"""Damaged weights: every file of the starter pack cut short, emptied or overwritten is refused by name before anything
is made of it. Standard library only; ctest runs it as command.damage."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from command_case import SAMPLES, WEIGHTS, CommandCase, models_folder, needs  # noqa: E402

QUESTION, SCAN = SAMPLES / "question.wav", SAMPLES / "scan.png"
CUTS = {
    "emptied": lambda whole: b"",
    "cut to a few bytes": lambda whole: whole[:11],
    "cut in half": lambda whole: whole[:len(whole) // 2],
    "beginning overwritten": lambda whole: b"\xff" * 64 + whole[64:],
    "a web page": lambda whole: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
}


class Damage(CommandCase):
    def check(self, model, file, *arguments, cuts=tuple(CUTS)):
        whole = (models_folder() / model / file).read_bytes()
        for name in cuts:
            with self.subTest(file=file, damage=name):
                models = self.models_with(model, {file: CUTS[name](whole)})
                self.refused(WEIGHTS, file, *arguments, MORPH_MODELS=models)
        with self.subTest(file=file, damage="absent"):
            done = self.refused(WEIGHTS, [], *arguments, MORPH_MODELS=self.models_with(model, {file: None}))
            self.assertTrue(model in done.stderr or file in done.stderr, done.stderr)

    @needs("whisper-tiny.en")
    def test_safetensors(self):
        self.check("whisper-tiny.en", "model.safetensors", QUESTION, "-p", "model=whisper-tiny.en", "-o", "out.txt")

    @needs("whisper-tiny.en")
    def test_settings(self):
        self.check("whisper-tiny.en", "config.json", QUESTION, "-p", "model=whisper-tiny.en", "-o", "out.txt")

    @needs("whisper-tiny.en")
    def test_tokenizer(self):
        self.check("whisper-tiny.en", "tokenizer.json", QUESTION, "-p", "model=whisper-tiny.en", "-o", "out.txt")

    @needs("smollm2-135m-instruct")
    def test_gguf(self):
        self.check("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", "Say yes.", "-o", "out.txt")

    @needs("piper-en-us-joe")
    def test_piper(self):
        self.check("piper-en-us-joe", "en_US-joe-medium.onnx", "Hello.", "-o", "out.wav")
        self.check("piper-en-us-joe", "en_US-joe-medium.onnx.json", "Hello.", "-o", "out.wav")

    @needs("kokoro")
    def test_kokoro(self):
        self.check("kokoro", "kokoro-v1.0.int8.onnx", "Hello.", "-o", "out.wav", "-p", "voice=kokoro",
                   cuts=("cut in half", "a web page"))
        self.check("kokoro", "vocab.json", "Hello.", "-o", "out.wav", "-p", "voice=kokoro",
                   cuts=("emptied", "cut in half"))

    @needs("pp-ocr-v4")
    def test_text_recognition(self):
        for file in ("det.onnx", "rec.onnx"):
            self.check("pp-ocr-v4", file, SCAN, "-o", "out.txt", "-p", "model=pp-ocr-v4")

    @needs("silero-vad", "whisper-base", "smollm2-135m-instruct", "piper-en-us-joe")
    def test_voice_activity(self):
        self.check("silero-vad", "silero_vad_openvino_16k.onnx", QUESTION, "-o", "out.wav",
                   cuts=("emptied", "cut in half"))


if __name__ == "__main__":
    unittest.main()
