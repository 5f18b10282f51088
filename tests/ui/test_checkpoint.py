"""Runs that are killed and resumed: transcribing, answering and reading aloud end in the same bytes as without a kill; what
cannot be resumed is refused by name. Standard library only; ctest runs it as command.checkpoint.

MORPH_KILLS=100 takes ten minutes of speech, an answer of 400 tokens and a text of two pages, kills each 100 times and says
what it did (MORPH_KILL_THREADS: with so many threads); without it everything is smaller and killed three times."""
import os
import pathlib
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sounds  # noqa: E402
from command_case import (BINARY, CONFIG, FORMAT, HANG_S, SAMPLES, WEIGHTS, CommandCase, models_folder,  # noqa: E402
                          needs)

KILLS = int(os.environ.get("MORPH_KILLS", "0"))
FULL = KILLS > 0
THREADS = ["--threads", os.environ["MORPH_KILL_THREADS"]] if os.environ.get("MORPH_KILL_THREADS") else []
EARLY_S = 0.05


def speech(path, seconds, random_source):
    """The samples one after the other in random order with random pauses, as 48 kHz stereo."""
    takes = [sounds.read_mono(SAMPLES / name) for name in ("question.wav", "long_question.wav")]
    rate = takes[0][0]
    assert all(take[0] == rate for take in takes)
    samples = []
    while len(samples) < seconds * rate:
        samples += random_source.choice(takes)[1].tolist()
        samples += [0] * random_source.randrange(rate // 4, 2 * rate)
    held = [0] * (len(samples) * 3)
    for i in range(3):
        held[i::3] = samples
    sounds.write(path, held, 3 * rate, channels=2)


def pages(n_sentences):
    """Plain prose, no sentence twice."""
    who = ["The gardener", "A young teacher", "My neighbour", "The old captain", "Our postman", "The baker's daughter"]
    does = ["carried", "painted", "repaired", "counted", "forgot", "found"]
    what = ["three wooden boats", "the green gate", "a box of letters", "the tall clock", "seven baskets of apples"]
    when = ["before the rain began", "while the others slept", "at a quarter past nine", "on the last day of May",
            "because nobody else would", "and told no one about it"]
    sentences = []
    for i in range(n_sentences):
        sentences.append(f"{who[i % 6]} {does[(i // 6) % 6]} {what[i % 5]} {when[(i // 5) % 6]}.")
    return "\n\n".join(" ".join(sentences[i:i + 6]) for i in range(0, n_sentences, 6)) + "\n"


class Killed(CommandCase):
    def kill_until_done(self, out, arguments, n_kills, seed):
        """The command with --checkpoint, killed at random moments and resumed, from the beginning again whenever it comes
        to its end, until it was killed `n_kills` times and finished: its bytes are those of a run that nobody killed."""
        arguments = [*arguments, *THREADS]
        begun = time.monotonic()
        self.succeeds(*arguments, "-o", out, "-q")
        whole_s = time.monotonic() - begun
        expected = (self.folder / out).read_bytes()
        others = set(self.files())
        dice = random.Random(seed)
        n_done = n_ends = n_fresh = 0
        while n_done < n_kills or n_ends == 0:
            (self.folder / out).unlink()
            (self.folder / "run").unlink(missing_ok=True)
            while True:
                resumes = (self.folder / "run").exists()
                n_fresh += not resumes
                command = ["resume", "run"] if resumes else [*arguments, "-o", out, "--checkpoint", "run"]
                process = subprocess.Popen([BINARY, *map(str, command), "--checkpoint-every", "100ms", "-q"],
                                           cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                try:
                    # Loading is most of a short life, so lives are long enough to get somewhere.
                    life_s = dice.uniform(EARLY_S, whole_s * 0.3 + 2) if n_done < n_kills else HANG_S
                    said, complaint = process.communicate(timeout=life_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    n_done += 1
                    continue
                self.assertEqual(process.returncode, 0, f"{command}\n{said}\n{complaint}")
                break
            n_ends += 1
            if FULL:
                print(f"{out}: {n_done} kills so far, {n_ends} times to the end", file=sys.stderr, flush=True)
            self.assertTrue((self.folder / out).read_bytes() == expected, f"{out} differs after {n_done} kills")
            self.assertEqual(set(self.files()) - others, {"run"})
        if FULL:
            print(f"{out}: {n_done} kills, {n_ends} times to the end with the same {len(expected)} bytes, "
                  f"{n_fresh} beginnings; unkilled it takes {whole_s:.1f} s", file=sys.stderr)

    @needs("whisper-tiny.en")
    def test_transcribing(self):
        speech(self.folder / "talk.wav", 600 if FULL else 75, random.Random(1))
        self.kill_until_done("talk.json", ["talk.wav", "-p", "model=whisper-tiny.en"], KILLS or 3, 11)

    @needs("smollm2-135m-instruct")
    def test_an_answer(self):
        n_tokens = 400 if FULL else 120
        self.kill_until_done("answer.txt", ["Tell a very long story about a lighthouse and the people who keep it.",
                                            "-p", f"max_tokens={n_tokens}", "-p", "temperature=0.9", "--seed", "5",
                                            "-p", "system=You tell long stories of many chapters."], KILLS or 3, 12)
        self.assertGreater(len((self.folder / "answer.txt").read_text().split()), n_tokens // 2)

    @needs("piper-en-us-joe")
    def test_reading_aloud(self):
        (self.folder / "text.txt").write_text(pages(60 if FULL else 16))
        self.kill_until_done("text.flac", ["text.txt"], KILLS or 3, 13)

    @needs("piper-en-us-joe")
    def test_every_kind_of_file(self):
        (self.folder / "text.txt").write_text(pages(3))
        for kind in ("wav", "mp3", "ogg", "opus", "m4a", "raw"):
            self.succeeds("text.txt", "-o", f"plain.{kind}", "-q")
            self.succeeds("text.txt", "-o", f"saved.{kind}", "-q", "--checkpoint", "run", "--checkpoint-every", "100ms")
            self.assertTrue((self.folder / f"plain.{kind}").read_bytes() == (self.folder / f"saved.{kind}").read_bytes(),
                            kind)


@needs("piper-en-us-joe")
class Segments(CommandCase):
    def test_segments_that_are_gone_or_of_another_run(self):
        (self.folder / "text.txt").write_text(pages(20))
        process = self.start("text.txt", "-o", "text.flac", "-q", "--checkpoint", "run", "--checkpoint-every", "50ms")
        kept = self.folder / "run.parts" / "out.audio"
        deadline = time.monotonic() + HANG_S
        while not list(kept.glob("000002.*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # the next save names them
        process.kill()
        process.wait()
        segments = sorted(kept.glob("*.segment"))
        self.assertGreater(len(segments), 2, process.stderr.read())
        held = segments[0].read_bytes()
        self.assertEqual(len(held), 10 * 22050 * 4)  # boundaries that do not depend on the kill
        segments[0].unlink()
        self.refused(FORMAT, ["000000.segment", "found none"], "resume", "run")
        segments[0].write_bytes(held[:-4])
        self.refused(FORMAT, ["000000.segment"], "resume", "run")
        segments[0].write_bytes(held)
        self.succeeds("resume", "run", "-q")
        self.assertEqual(self.files(), ["run", "text.flac", "text.txt"])


@needs("whisper-tiny.en")
class Refused(CommandCase):
    def saved_run(self):
        """A run that was killed once it had been saved."""
        speech(self.folder / "talk.wav", 60, random.Random(2))
        process = self.start("talk.wav", "-p", "model=whisper-tiny.en", "-o", "talk.txt", "-q", "--checkpoint", "run",
                             "--checkpoint-every", "50ms")
        deadline = time.monotonic() + HANG_S
        while not (self.folder / "run").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        self.assertTrue((self.folder / "run").exists(), process.stderr.read())

    def test_other_weights(self):
        self.saved_run()
        held = bytearray((models_folder() / "whisper-tiny.en" / "model.safetensors").read_bytes())
        held[-1] ^= 1
        other = self.models_with("whisper-tiny.en", {"model.safetensors": bytes(held)})
        self.refused(WEIGHTS, ["whisper-tiny.en/model.safetensors", "another file"], "resume", "run", MORPH_MODELS=other)

    def test_another_input(self):
        self.saved_run()
        with open(self.folder / "talk.wav", "r+b") as sound:
            sound.seek(1000)
            sound.write(b"changed")
        self.refused(CONFIG, ["talk.wav", "another file"], "resume", "run")

    def test_damaged_and_cut_short(self):
        self.saved_run()
        whole = (self.folder / "run").read_bytes()
        for bytes_ in (whole[:-1], whole[:len(whole) // 2], whole[:10], b"", whole[:200] + b"\0" + whole[201:] + b"x"):
            (self.folder / "run").write_bytes(bytes_)
            self.refused(FORMAT, ["run", "cut short"], "resume", "run")
        (self.folder / "run").write_bytes(b"something else entirely")
        self.refused(FORMAT, ["run", "no checkpoint"], "resume", "run")
        self.refused(CONFIG, ["other", "nothing of this name"], "resume", "other")

    def test_finished(self):
        self.saved_run()
        self.refused(CONFIG, ["run", "not finished", "resume"], "talk.wav", "-o", "talk.txt", "--checkpoint", "run")
        self.succeeds("resume", "run", "-q", "-o", "elsewhere.txt")
        self.assertFalse((self.folder / "talk.txt").exists())
        self.assertTrue((self.folder / "elsewhere.txt").read_text().strip())
        self.assertFalse((self.folder / "run.parts").exists())
        self.refused(CONFIG, ["run", "finished"], "resume", "run")

    def test_what_cannot_be_saved(self):
        speech(self.folder / "talk.wav", 1, random.Random(3))
        self.refused(CONFIG, ["--checkpoint", "-o"], "talk.wav", "--checkpoint", "run")
        self.refused(CONFIG, ["--checkpoint-every", "5s"], "talk.wav", "-o", "t.txt", "--checkpoint", "run",
                     "--checkpoint-every", "soon")
        self.refused(CONFIG, ["file of its own"], "talk.wav", "-o", "t.txt", "--checkpoint", "t.txt")


if __name__ == "__main__":
    unittest.main()
