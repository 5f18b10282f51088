"""The `morph` program given what it cannot use: each is refused by name, with its exit code, leaving nothing behind.
And a few things that must not be refused. Standard library only; ctest runs it as command.command."""
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sounds  # noqa: E402
from command_case import (BINARY, CONFIG, DEVICE, FORMAT, HANG_S, PIPELINE, RESOURCE, SAMPLES, WEIGHTS,  # noqa: E402
                          CommandCase, models_folder, needs)

QUESTION = SAMPLES / "question.wav"


class Inputs(CommandCase):
    def put(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def test_empty_files(self):
        for name in ("empty.wav", "empty.flac", "empty.png", "empty.txt"):
            self.refused(FORMAT, [name, "empty"], self.put(name, b""))

    def test_audio_without_samples(self):
        self.refused(FORMAT, ["none.wav", "without a single sample"], self.put("none.wav", sounds.header(0, 16000, 1, 16)), "-o",
                     "none.txt")

    def test_header_cut_off(self):
        self.refused(FORMAT, "cut.wav", self.put("cut.wav", QUESTION.read_bytes()[:30]))

    def test_noise_named_as_media(self):
        noise = bytes((i * 7919 + 3) % 256 for i in range(5000))
        for name in ("noise.wav", "noise.mp3", "noise.flac", "noise.opus", "noise.png", "noise.jpg", "noise.bin"):
            self.refused(FORMAT, name, self.put(name, noise))

    def test_image_that_is_none(self):
        self.refused(FORMAT, "broken.png", self.put("broken.png", b"\x89PNG\r\n\x1a\n" + bytes(200)))
        half = (SAMPLES / "scan.png").read_bytes()
        self.refused(FORMAT, "half.png", self.put("half.png", half[:len(half) // 2]))

    @needs("whisper-base")
    def test_audio_cut_off(self):
        cut = self.put("cut.wav", QUESTION.read_bytes()[:50000])
        self.refused(FORMAT, ["cut.wav", "truncated"], cut, "-o", "cut.txt", "-p", "in.audio.on_truncated=error")
        done = self.succeeds(cut)
        self.assertIn("cut.wav: truncated", done.stderr)
        self.assertIn("capital", done.stdout)

    def test_names_and_content_that_would_write_to_the_terminal(self):
        bad = self.put("a\x1b]0;owned\x07\x9b.wav", b"")
        done = self.refused(FORMAT, "\\x1b]0;owned\\x07", bad)
        self.assertNotRegex(done.stderr, r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

    def test_paths_that_are_none(self):
        for argument in ("missing.wav", "no/such/thing", "/nowhere/talk.mp3", "notes.txt", "scan.PNG"):
            self.refused(CONFIG, [argument, "no such file"], argument)
        self.refused(CONFIG, "is a folder", str(self.folder))

    def test_inputs_that_no_pipeline_takes(self):
        self.refused(PIPELINE, "no pipeline", SAMPLES / "scan.png", "-o", "scan.wav")
        self.refused(PIPELINE, "no pipeline", QUESTION, SAMPLES / "scan.png")

    def test_standard_input_of_unknown_kind(self):
        self.refused(FORMAT, "standard input", "-")


class Outputs(CommandCase):
    def test_unknown_suffix(self):
        for out in ("answer.xyz", "answer", "answer.wav.part"):
            self.refused(CONFIG, ["suffix", ".wav"], QUESTION, "-o", out)

    @needs("piper-en-us-joe")
    def test_places_that_cannot_be_written(self):
        (self.folder / "file").write_text("x")
        (self.folder / "folder.wav").mkdir()
        for out in ("missing/hello.wav", "file/hello.wav", "folder.wav", "missing/hello.mp3", "/proc/hello.wav"):
            self.refused(CONFIG, out, "Hello there.", "-o", out)

    @needs("smollm2-135m-instruct")
    def test_text_that_cannot_be_written(self):
        (self.folder / "folder.txt").mkdir()
        for out in ("missing/hello.txt", "folder.txt"):
            self.refused(CONFIG, out, "Say yes.", "-o", out, "-p", "max_tokens=1")

    @needs("piper-en-us-joe")
    def test_full_disk(self):
        small = self.folder / "small"
        small.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small)],
                                               capture_output=True, check=False).returncode != 0:
            self.skipTest("mounting a small file system needs root")
        self.addCleanup(subprocess.run, ["umount", str(small)], check=True)
        for name in ("hello.wav", "hello.flac"):
            self.refused(RESOURCE, [name, "no space"], "Hello there, this is a sentence of some length.", "-o",
                         small / name)

    @needs("piper-en-us-joe")
    def test_explain_refuses_unknown_suffix(self):
        self.refused(CONFIG, "graph.xyz", "explain", "text-to-audio/speak", "-o", "graph.xyz")
        self.refused(CONFIG, "missing/graph.json", "explain", "text-to-audio/speak", "-o", "missing/graph.json")


class Options(CommandCase):
    def test_unknown_options_and_values(self):
        self.refused(CONFIG, "--frobnicate", QUESTION, "--frobnicate")
        self.refused(CONFIG, "expected a size", QUESTION, "--memory", "lots")
        self.refused(CONFIG, "name=value", QUESTION, "-p", "model")
        self.refused(CONFIG, "--threads", QUESTION, "--threads", "0")

    @needs("whisper-base")
    def test_parameters(self):
        self.refused(CONFIG, ["modle", "model"], QUESTION, "-p", "modle=whisper-base")
        self.refused(CONFIG, "task", QUESTION, "-p", "task=sing")

    def test_absent_device(self):
        devices = self.succeeds("models", "--devices").stdout
        if "cuda:0" in devices:
            self.skipTest("this machine has cuda:0")
        self.refused(DEVICE, "cuda:0", QUESTION, "--device", "cuda:0", "-o", "answer.wav")
        self.refused(DEVICE, "npu:7", QUESTION, "--device", "npu:7")

    @needs("whisper-base", "smollm2-135m-instruct", "piper-en-us-joe", "silero-vad")
    def test_small_memory_budget_is_refused_before_loading(self):
        self.refused(RESOURCE, ["200 MiB", "What would fit"], QUESTION, "--memory", "200MiB", "-o", "answer.wav")

    @needs("whisper-base")
    def test_errors_as_json(self):
        done = self.morph(QUESTION, "--memory", "10MiB", "--json")
        self.assertEqual(done.returncode, RESOURCE)
        self.assertEqual(json.loads(done.stdout)["diagnostics"][0]["code"], "resource")
        done = self.morph("missing.wav", "--json")
        self.assertEqual(done.returncode, CONFIG)
        self.assertEqual(json.loads(done.stdout)["error"]["code"], "config")


class Pipelines(CommandCase):
    def document(self, stages, links, **more):
        outer = {"morph": 1, "name": "test", "help": "A test.",
                 "inputs": {"text": {"type": "text", "to": "a.text"}},
                 "outputs": {"text": {"type": "text", "from": "b.text"}}}
        outer.update(stages=stages, links=links, **more)
        (self.folder / "test.json").write_text(json.dumps(outer))
        return "test.json"

    def refused_document(self, code, texts, *document, **more):
        self.refused(code, texts, "run", self.document(*document, **more), "Hello.")

    def test_no_json(self):
        for content in ("", "{", "[]", "null", '{"morph": 1, "stages": 3}', '{"morph": 99}', "\x00\x01"):
            (self.folder / "test.json").write_text(content)
            self.refused(PIPELINE, "test.json", "run", "test.json", "Hello.")

    def test_missing_document(self):
        for name in ("missing.json", "no-such/pipeline"):
            self.refused(PIPELINE, name, "run", name, "Hello.")

    def test_cycle(self):
        clauses = {"stage": "text/clauses"}
        self.document({"a": clauses, "b": clauses}, ["a.text -> b.text", "b.text -> a.text"], inputs={})
        self.refused(PIPELINE, ["cycle", "a", "b"], "explain", "test.json")

    def test_unknown_stage_port_and_parameter(self):
        clauses = {"stage": "text/clauses"}
        self.refused_document(PIPELINE, ["text/clauze", "text/clauses"], {"a": {"stage": "text/clauze"}, "b": clauses},
                              ["a.text -> b.text"])
        self.refused_document(PIPELINE, "texts", {"a": clauses, "b": clauses}, ["a.texts -> b.text"])
        self.refused_document(CONFIG, "sharpness", {"a": clauses, "b": {**clauses, "params": {"sharpness": 3}}},
                              ["a.text -> b.text"])

    def test_ports_that_do_not_fit(self):
        self.refused_document(PIPELINE, ["audio", "text"], {"a": {"stage": "text/clauses"}, "c": {"stage": "audio/resample"},
                                                    "b": {"stage": "text/clauses"}}, ["a.text -> c.audio", "c.audio -> b.text"])

    def test_missing_model(self):
        self.refused(WEIGHTS, ["no-such-voice"], "Hello.", "-o", "hello.wav", "-p", "voice=no-such-voice")
        self.refused(WEIGHTS, ["whisper-base", "pull"], QUESTION, MORPH_CACHE=str(self.folder), MORPH_MODELS="")

    def test_parameter_that_the_document_sets_wrongly(self):
        self.refused_document(CONFIG, ["max_tokens", "many"],
                              {"a": {"stage": "text/chat", "params": {"max_tokens": "many"}}}, [],
                              inputs={"text": {"type": "text", "to": "a.turns"}},
                              outputs={"text": {"type": "text", "from": "a.text"}})


class Network(CommandCase):
    def test_no_network(self):
        self.refused(RESOURCE, "127.0.0.1:9", "pull", "hf:org/name", "--to", "model", MORPH_HUB="http://127.0.0.1:9")
        self.refused(CONFIG, "expected", "pull", "ftp://somewhere")

    def test_no_network_for_the_pack(self):
        proxy = "http://127.0.0.1:9"
        cache = self.folder / "cache"
        done = self.morph("pull", "piper-en-us-joe", MORPH_CACHE=str(cache), PIP_INDEX_URL=proxy, PIP_RETRIES="0",
                          PIP_NO_INDEX="", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull, http_proxy=proxy,
                          https_proxy=proxy)
        self.assertEqual(done.returncode, RESOURCE, done.stderr)
        self.assertRegex(done.stderr, "(?i)network|reach|fetch")
        self.assertFalse((cache / "models" / "piper-en-us-joe").exists())


class Works(CommandCase):
    """What must not be refused."""

    @needs("whisper-base")
    def test_silence_says_nothing(self):
        sounds.write_silence(self.folder / "silence.wav", 7)
        done = self.succeeds("silence.wav")
        self.assertEqual(done.stdout.strip(), "")

    @needs("whisper-base")
    def test_an_hour_of_silence_in_bounded_memory(self):
        sounds.write_silence(self.folder / "hour.wav", 3600, 8000)
        with open(self.folder / "out", "w+", encoding="utf-8") as out:
            process = subprocess.Popen([BINARY, "hour.wav"], stdout=out, stderr=out, cwd=self.folder)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            self.assertEqual((process.returncode, out.read().strip()), (0, ""))
        self.assertLess(usage.ru_maxrss, 400 << 10)

    @needs("whisper-base")
    def test_recordings_of_every_kind(self):
        rate, samples = sounds.read_mono(QUESTION)
        sounds.write(self.folder / "stereo.wav", samples, rate, channels=2)
        sounds.write(self.folder / "phone.wav", sounds.halve_rate(samples), rate // 2)
        sounds.write(self.folder / "deep.wav", samples, rate, bits=24)
        for name in ("stereo.wav", "phone.wav", "deep.wav"):
            self.assertIn("capital of france", self.succeeds(name).stdout.lower(), name)

    @needs("smollm2-135m-instruct")
    def test_one_word_is_an_answer(self):
        done = self.succeeds("Say yes.", "-p", "max_tokens=1")
        self.assertRegex(done.stdout.strip(), r"^\S+$")
        warnings = [line for line in done.stderr.splitlines() if "warning" in line]
        self.assertEqual(len(warnings), 1, done.stderr)  # it was cut, which is said; nothing is wrong with one word
        self.assertIn("1 answer cut", warnings[0])

    @needs("smollm2-135m-instruct")
    def test_prompts_that_mention_paths(self):
        for prompt in ("What is in notes.txt?", "either/or is a phrase", "Hello", "A long tale. " * 500):
            self.assertIn("text-to-text/chat", self.succeeds("explain", prompt).stdout)

    @needs("whisper-base", "smollm2-135m-instruct", "piper-en-us-joe", "silero-vad")
    def test_explain(self):
        self.succeeds("explain", QUESTION, "--to", "answer.wav", "-o", "graph.svg")
        self.assertTrue(xml.parse(self.folder / "graph.svg").getroot().tag.endswith("svg"))
        plan = json.loads(self.succeeds("explain", QUESTION, "--to", "answer.wav", "--json").stdout)
        self.assertIn("memory", plan)
        self.assertEqual(self.files(), ["graph.svg"])

    @needs("whisper-base")
    def test_json(self):
        text = json.loads(self.succeeds(QUESTION, "--json").stdout)
        self.assertIn("capital", json.dumps(text))
        self.assertIsInstance(json.loads(self.succeeds("run", "--list", "--json").stdout), list)
        json.loads(self.succeeds("models", "--json").stdout)

    @needs("piper-en-us-joe")
    def test_replay_of_audio(self):
        for name in ("hello.wav", "hello.flac", "hello.mp3", "hello.opus"):
            self.succeeds("Hello there.", "-o", name)
            self.check_replay(name)

    @needs("smollm2-135m-instruct")
    def test_replay_of_text(self):
        for name in ("colour.txt", "colour.json"):
            self.succeeds("Name a colour.", "-o", name, "-p", "max_tokens=8", "-p", "temperature=0.8", "--seed", "3")
            self.check_replay(name)

    def check_replay(self, name):
        before = self.files()
        done = self.succeeds("replay", name)
        self.assertIn("the same bytes", done.stdout)
        self.assertEqual(self.files(), before)
        beside = self.folder / (name + ".provenance.json")
        record = beside.read_text() if beside.exists() else (self.folder / name).read_bytes().decode("latin-1")
        record = record.replace('\\"', '"')  # a string in JSON
        for text in ('"seed"', '"weights"', '"sha256"', '"pipeline"'):
            self.assertIn(text, record, name)

    def test_replay_of_a_stranger(self):
        (self.folder / "notes.txt").write_text("not ours\n")
        self.refused(FORMAT, "carries no provenance", "replay", "notes.txt")
        self.refused(FORMAT, "missing.wav", "replay", "missing.wav")
        self.refused(RESOURCE, "name too long", "replay", "x" * 300)


if __name__ == "__main__":
    unittest.main()
