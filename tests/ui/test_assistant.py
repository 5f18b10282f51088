"""Spoken turns through the command: barge-in in a recording and live, pauses, silence, noise, interrupted programs.

What people say is spoken by the program itself, so that no recordings are needed. Limits in time are those of a busy
machine; what is exact is stream time. Standard library only.
"""
import array
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import wave

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from command_case import BINARY, CANCELLED, HANG_S, SOURCE, needs  # noqa: E402

TALKATIVE = "system=You are a helpful AI assistant."  # answers at length
RATE = 22050
CHUNK = RATE * 32 // 1000
END_S = 0.6  # audio/voice_activity: silence that ends a turn


def morph(*arguments, **options):
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, timeout=HANG_S, check=False, **options)
    done.stderr = done.stderr.decode(errors="replace")
    return done


def numbers(data):
    samples = array.array("h", data[:len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def data_of(samples):
    samples = array.array("h", samples)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def read(path):
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 1, 2), sound.getparams()
        return numbers(sound.readframes(sound.getnframes()))


def silence(seconds):
    return array.array("h", bytes(2 * int(seconds * RATE)))


def loud(samples):
    """Times at which 10 ms are not silent."""
    n = RATE // 100
    return [i / RATE for i in range(0, len(samples) - n, n) if max(map(abs, samples[i:i + n])) > 200]


def trimmed(samples):
    times = loud(samples)
    return samples[int(times[0] * RATE):int((times[-1] + 0.02) * RATE)]


class Speaker:
    """A microphone's pipe into `morph - -o -`, and what comes out of it with the time it came."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [BINARY, "-", "-o", "-", "--stdin-type", "audio", "--stdout-type", "audio", "--show", "--metrics",
             "-p", "in.audio.encoding=s16le", "-p", f"in.audio.rate={RATE}", "-p", "in.audio.channels=1", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.start = time.monotonic()
        self.n_said = 0
        self.came = []  # (seconds, bytes)
        self.shown = b""
        self.leaves = False  # stops listening
        self.threads = [threading.Thread(target=self._hear), threading.Thread(target=self._read_shown)]
        for thread in self.threads:
            thread.start()

    def now(self):
        return time.monotonic() - self.start

    def _hear(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.came.append((self.now(), data))
            if self.leaves:
                break
        self.process.stdout.close()

    def _read_shown(self):
        while data := os.read(self.process.stderr.fileno(), 65536):
            self.shown += data

    def n_heard(self):
        """Samples of the answers so far."""
        return max(0, sum(len(data) for _, data in self.came) - 44) // 2

    def say(self, samples, until=lambda: False):
        for i in range(0, len(samples), CHUNK):
            if until():
                return True
            part = samples[i:i + CHUNK]
            self.process.stdin.write(data_of(part))
            self.process.stdin.flush()
            self.n_said += len(part)
            time.sleep(max(0.0, self.n_said / RATE - self.now()))
        return until()

    def end(self):
        """End of the input; (exit code, what was shown)."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        code = self.process.wait(timeout=HANG_S)
        for thread in self.threads:
            thread.join()
        self.process.stderr.close()
        return code, self.shown.decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.end()


@needs("piper-en-us-joe", "silero-vad", "smollm2-135m-instruct", "whisper-base")
class Assistant(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="morph-assistant-")
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.paris = cls.spoken("Tell me about the history of Paris.")
        cls.capital = cls.spoken("What is the capital of France?")

    @classmethod
    def spoken(cls, text):
        path = cls.folder / "spoken.wav"
        done = morph(text, "-o", path, "-q")
        assert done.returncode == 0, done.stderr
        return trimmed(read(path))

    def recording(self, *parts):
        path = self.folder / "recording.wav"
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            for part in parts:
                sound.writeframes(data_of(part))
        return path

    def answer(self, recording, *arguments, name="answer.wav"):
        out = self.folder / name
        done = morph(recording, "-o", out, "-q", "--show", "--metrics", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out, done.stderr

    def pipeline(self, queue):
        """The assistant with links of another length."""
        document = json.loads((SOURCE / "pipelines/speech-to-speech/assistant.json").read_text())
        document["links"] = [{"from": link.split(" -> ")[0], "to": link.split(" -> ")[1], "queue": queue}
                             for link in document["links"]]
        path = self.folder / f"queue{queue}.json"
        path.write_text(json.dumps(document))
        return path

    def assert_shown(self, shown, *texts):
        for text in texts:
            self.assertIn(text.lower(), shown.lower())

    # ------------------------------------------------------------------------------------------------- recordings

    def test_barge_in_in_a_recording(self):
        first_end = 0.3 + len(self.paris) / RATE
        second_begin = first_end + END_S + 1.0
        second_end = second_begin + len(self.capital) / RATE
        recording = self.recording(silence(0.3), self.paris, silence(END_S + 1.0), self.capital, silence(1.0))
        out, shown = self.answer(recording, "-p", TALKATIVE, "-p", "playback.gaps=true")
        self.assert_shown(shown, "heard: Tell me about the history of Paris.", "heard: What is the capital of France?")
        self.assertRegex(shown, r"answers_interrupted +1\.0")
        self.assertRegex(shown, r"interruptions +1\.0")
        times = loud(read(out))
        first = [t for t in times if t < second_end]
        second = [t for t in times if t > second_end]
        self.assertTrue(first and second, times)
        self.assertGreater(first[0], first_end + 0.3)  # not before its turn was over
        self.assertLess(first[0], second_begin)
        self.assertGreater(first[-1], second_begin - 0.5)  # it was being heard ...
        self.assertLess(first[-1], second_begin + 0.6)  # ... until the speaker began
        self.assertGreater(second[0], second_end + 0.3)
        self.assert_shown(shown, "text: ")

        for queue in (1, 64):
            again, _ = self.answer(recording, "-p", TALKATIVE, "-p", "playback.gaps=true",
                                   "--pipeline", self.pipeline(queue), name="again.wav")
            self.assertTrue(read(out) == read(again), f"other samples with links of {queue}")

    def test_turns_know_the_turns_before(self):
        fact, question = self.spoken("I have a red car."), self.spoken("What color is my car?")
        recording = self.recording(silence(0.3), fact, silence(5), self.capital, silence(5), question, silence(1))
        _, shown = self.answer(recording)
        heard = [line for line in shown.splitlines() if line.startswith("heard: ")]
        self.assertEqual(len(heard), 3, shown)
        answers = [line for line in shown.splitlines() if line.startswith("text: ")]
        self.assertEqual(len(answers), 3, shown)
        self.assert_shown(answers[1], "Paris")
        self.assert_shown(answers[2], "red")

    def test_clocks_of_files_and_pipes(self):
        recording = self.recording(silence(0.3), self.capital, silence(1.0))
        by_file, shown = self.answer(recording)
        self.assert_shown(shown, "Paris")
        with open(recording, "rb") as stdin:
            done = morph("-", "-o", self.folder / "pipe.wav", "-q", "-p", "clock=stream", stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(read(by_file) == read(self.folder / "pipe.wav"), "a pipe is answered as a file is")
        live, shown = self.answer(recording, "-p", "clock=live", name="live.wav")
        self.assert_shown(shown, "Paris")
        self.assertGreater(len(loud(read(live))), 30)

    # ------------------------------------------------------------------------------------------------------- live

    def test_barge_in_live(self):
        with Speaker("-p", TALKATIVE) as speaker:
            speaker.say(silence(0.5))
            speaker.say(self.paris)
            self.assertTrue(speaker.say(silence(40), lambda: speaker.n_heard() > RATE), "no answer came")
            before = speaker.n_heard()
            speaker.say(self.capital)
            speaker.say(silence(0.3))
            during = speaker.n_heard() - before
            self.assertTrue(speaker.say(silence(40), lambda: speaker.n_heard() > before + during + RATE / 2),
                            "no second answer came")
            code, shown = speaker.end()
        self.assertEqual(code, 0, shown)
        self.assertLess(during / RATE, 1.2, "the answer went on while the speaker spoke")
        self.assert_shown(shown, "heard: What is the capital of France?")
        self.assertRegex(shown, r"answers_interrupted +1\.0")

    def test_a_pause_in_mid_sentence_is_not_a_turn(self):
        halves = self.spoken("I would like to know"), self.spoken("what the capital of France is.")
        with Speaker() as speaker:
            speaker.say(silence(0.5))
            speaker.say(halves[0])
            speaker.say(silence(0.4))
            speaker.say(halves[1])
            self.assertEqual(speaker.n_heard(), 0)
            self.assertTrue(speaker.say(silence(40), lambda: speaker.n_heard() > RATE / 2), "no answer came")
            code, shown = speaker.end()
        self.assertEqual(code, 0, shown)
        heard = [line for line in shown.splitlines() if line.startswith("heard: ")]
        self.assertEqual(len(heard), 1, shown)
        self.assert_shown(heard[0], "like to know", "capital of France")
        self.assert_shown(shown, "text: ")

    def test_silence_and_noise_say_nothing(self):
        rng = random.Random(1)
        noise = array.array("h", (int(rng.gauss(0, 1000)) for _ in range(3 * RATE)))
        for sound in (silence(3), noise):
            with Speaker() as speaker:
                speaker.say(sound)
                code, shown = speaker.end()
                self.assertEqual(code, 0, shown)
                self.assertEqual(speaker.n_heard(), 0, shown)
                self.assertNotIn("heard: ", shown)

    # ------------------------------------------------------------------------------------------- ends of all kinds

    def in_mid_answer(self, speaker):
        speaker.say(silence(0.5))
        speaker.say(self.paris)
        self.assertTrue(speaker.say(silence(40), lambda: speaker.n_heard() > RATE / 4), "no answer came")

    def test_end_of_input_lets_the_answer_finish(self):
        with Speaker("-p", TALKATIVE, "-p", "max_tokens=40") as speaker:
            self.in_mid_answer(speaker)
            before = speaker.n_heard()
            code, shown = speaker.end()
            self.assertEqual(code, 0, shown)
            self.assertGreater(speaker.n_heard(), before + 2 * RATE)

    def test_ctrl_c_in_mid_answer(self):
        with Speaker("-p", TALKATIVE) as speaker:
            self.in_mid_answer(speaker)
            speaker.process.send_signal(signal.SIGINT)
            code = speaker.process.wait(timeout=HANG_S)
            _, shown = speaker.end()
            self.assertEqual(code, CANCELLED, shown)
            self.assertIn("cancelled", shown)

    def test_listener_that_goes_away(self):
        with Speaker("-p", TALKATIVE) as speaker:
            self.in_mid_answer(speaker)
            speaker.leaves = True
            try:
                speaker.say(silence(20), lambda: speaker.process.poll() is not None)
            except BrokenPipeError:  # it no longer listens either
                pass
            code, shown = speaker.end()
            self.assertNotIn(code, (0, -signal.SIGPIPE, -signal.SIGABRT), shown)
            self.assertRegex(shown, r"error \(\w+\): ")


if __name__ == "__main__":
    unittest.main()
