"""Ctrl-C at any moment, while loading, running or waiting for input, ends the command with 130 and leaves no file; a
second one is not needed. Standard library only; ctest runs it as command.interrupt."""
import pathlib
import random
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sounds  # noqa: E402
from command_case import CANCELLED, SAMPLES, CommandCase, needs  # noqa: E402

QUESTION = SAMPLES / "question.wav"
ASSISTANT = ("whisper-base", "smollm2-135m-instruct", "piper-en-us-joe", "silero-vad")


class Interrupt(CommandCase):
    def setUp(self):
        super().setUp()
        self.draw = random.Random(20)

    def check(self, process, outputs=()):
        before = self.files()
        seconds = self.draw.uniform(0.02, 2.5)
        code, stderr = self.interrupt_after(seconds, process)
        self.assertEqual(code, CANCELLED, f"after {seconds:.2f} s: {stderr}")
        self.assertNotIn("please report", stderr)
        self.assertEqual(self.files(), before, outputs)

    def talk(self):
        """A minute and a half of speech: no run is over before its interrupt."""
        rate, samples = sounds.read_mono(SAMPLES / "long_question.wav")
        sounds.write(self.folder / "talk.wav", list(samples) * 12, rate)
        return "talk.wav"

    @needs(*ASSISTANT)
    def test_while_a_recording_is_answered(self):
        talk = self.talk()
        for _ in range(5):
            self.check(self.start(talk, "-o", "answer.wav", stdin=subprocess.DEVNULL))

    @needs("whisper-base")
    def test_while_a_recording_is_transcribed(self):
        talk = self.talk()
        for _ in range(3):
            self.check(self.start(talk, "-o", "talk.txt", stdin=subprocess.DEVNULL))

    @needs("piper-en-us-joe")
    def test_while_a_long_text_is_spoken(self):
        (self.folder / "long.txt").write_text("The tide comes in slowly, and then all at once. " * 400)
        for suffix in ("wav", "mp3"):
            self.check(self.start("long.txt", "-o", f"long.{suffix}", stdin=subprocess.DEVNULL))

    @needs(*ASSISTANT)
    def test_standard_input_that_stays_open(self):
        # Nothing at all arrives; a header; a question and then silence on the line.
        for head in (b"", QUESTION.read_bytes()[:44], QUESTION.read_bytes()[:30000]):
            for kind in ((), ("--stdin-type", "audio")):
                with self.subTest(bytes=len(head), kind=kind):
                    process = self.start("-", "-o", "answer.wav", *kind, stdin=subprocess.PIPE)
                    process.stdin.buffer.write(head)
                    process.stdin.buffer.flush()
                    self.check(process)

    @needs("smollm2-135m-instruct")
    def test_standard_input_of_text_that_stays_open(self):
        process = self.start("-", "-o", "answer.txt", "--stdin-type", "text", stdin=subprocess.PIPE)
        self.check(process)


if __name__ == "__main__":
    unittest.main()
