"""Bad luck and bad intent, by kind: odd checkpoints, hostile hubs, special files, closed and full streams, limits, signals.
Every input is made here. Standard library only; ctest runs it as command.hostile."""
import hashlib
import json
import os
import pathlib
import random
import resource
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from command_case import (BINARY, CONFIG, FORMAT, RESOURCE, SAMPLES, WEIGHTS, CommandCase,  # noqa: E402
                          models_folder, needs)
from hostile_hub import Hub  # noqa: E402

QUESTION, SCAN = SAMPLES / "question.wav", SAMPLES / "scan.png"
TINY = ("-p", "model=whisper-tiny.en")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PIPER, PIPER_JSON = "piper-en-us-joe", "en_US-joe-medium.onnx.json"


def wav(samples, rate=16000, kind="s16"):
    """A WAV file of 16-bit ("s16") or float ("f32") samples; the header says `rate`, whatever it is."""
    data = b"".join(struct.pack("<h" if kind == "s16" else "<f", s) for s in samples)
    width, code = (2, 1) if kind == "s16" else (4, 3)
    head = struct.pack("<HHIIHH", code, 1, rate & 0xFFFFFFFF, (rate * width) & 0xFFFFFFFF, width, 8 * width)
    return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + head +
            b"data" + struct.pack("<I", len(data)) + data)


def deep(n, text="[", end="]"):
    return (text * n + end * n).encode()


class Hostile(CommandCase):
    def limited(self, *arguments, gib=6, seconds=120, **environment):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (gib << 30, gib << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              cwd=self.folder, env=dict(os.environ, **environment), timeout=seconds, preexec_fn=limit,
                              check=False)

    def one_line(self, done, code, *texts):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)


class Checkpoints(Hostile):
    def refuses(self, model, file, content, *arguments, code=WEIGHTS, says=None):
        models = self.models_with(model, {file: content})
        done = self.limited(*arguments, MORPH_MODELS=models)
        self.assertEqual(done.returncode, code, (file, done.stderr))
        self.assertNotIn("please report", done.stderr)
        self.assertIn(says or file, done.stderr)

    @needs("whisper-tiny.en")
    def test_json_of_a_recogniser(self):
        """Depth, count and kinds of values, in every JSON file that a recogniser reads."""
        for file in ("config.json", "tokenizer.json", "generation_config.json"):
            for name, content in {
                "deep": b'{"model":{"vocab":' + deep(2_000_000) + b"}}",
                "deep objects": deep(300_000, '{"a":', "}"),
                "many": b"[" + b"0," * 6_000_000 + b"0]",
                "not UTF-8": b'{"a": "\xff\xfe"}',
                "a huge number": b'{"vocab_size": 1e99999, "d_model": -5}',
            }.items():
                with self.subTest(file=file, content=name):
                    self.refuses("whisper-tiny.en", file, content, QUESTION, *TINY, "-o", "o.txt")
        odd = ([], {"model": []}, {"model": {"vocab": [1]}}, {"model": {"vocab": {"a": 1.5}}},
               {"model": {"vocab": {"a": -1}}}, {"model": {"vocab": {"a": 2 ** 63}}},
               {"model": {"vocab": {"a": 1}}, "added_tokens": 7}, {"model": {"vocab": {"a": 1}}, "added_tokens": [[]]})
        for document in odd:
            with self.subTest(tokenizer=document):
                self.refuses("whisper-tiny.en", "tokenizer.json", json.dumps(document).encode(), QUESTION, *TINY,
                             "-o", "o.txt")

    @needs("whisper-tiny.en")
    def test_safetensors_headers(self):
        def file(header):
            return struct.pack("<Q", len(header)) + header
        entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
        for name, header in {
            "many tensors": ("{" + ",".join(f'"t{i}":{entry}' for i in range(1_200_000)) + "}").encode(),
            "a wide shape": ('{"t":{"dtype":"F32","shape":[' + "1," * 20_000_000 + '1],"data_offsets":[0,4]}}').encode(),
            "deep": b'{"t":' + deep(1_000_000) + b"}",
            "many of an odd kind": ('{"t":[' + "{}," * 9_000_000 + "{}]}").encode(),
        }.items():
            with self.subTest(name):
                self.refuses("whisper-tiny.en", "model.safetensors", file(header), QUESTION, *TINY, "-o", "o.txt")

    @needs("smollm2-135m-instruct")
    def test_numbers_of_a_language_model(self):
        whole = (models_folder() / "smollm2-135m-instruct" / GGUF).read_bytes()
        for key in (b"llama.attention.layer_norm_rms_epsilon", b"llama.rope.freq_base"):
            for value in (float("nan"), float("inf"), -1.0):
                with self.subTest(key=key, value=value):
                    changed = bytearray(whole)
                    at = changed.find(key) + len(key) + 4
                    changed[at:at + 4] = struct.pack("<f", value)
                    self.refuses("smollm2-135m-instruct", GGUF, bytes(changed), "Say yes.", "-o", "o.txt",
                                 says=key.decode().split(".")[-1])

    @needs("smollm2-135m-instruct")
    def test_templates_without_end(self):
        whole = (models_folder() / "smollm2-135m-instruct" / GGUF).read_bytes()
        key = b"tokenizer.chat_template"
        at = whole.find(key) + len(key) + 4
        length = struct.unpack("<Q", whole[at:at + 8])[0]
        for template in (b"{% for a in range(300000000) %}yyyyyyyyyyyy{% endfor %}",
                         b"{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
                         b"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"):
            with self.subTest(template):
                changed = bytearray(whole)
                changed[at + 8:at + 8 + length] = template.ljust(length, b" ")
                self.refuses("smollm2-135m-instruct", GGUF, bytes(changed), "Say yes.", "-o", "o.txt", says="template")

    @needs(PIPER)
    def test_settings_of_a_voice(self):
        good = json.loads((models_folder() / PIPER / PIPER_JSON).read_text())

        def with_ids(value):
            return dict(good, phoneme_id_map={k: value for k in good["phoneme_id_map"]})
        documents = {
            "ids beyond the table": with_ids([4000]), "ids far beyond": with_ids([10 ** 15]), "negative": with_ids([-1]),
            "fractions": with_ids([1.5]), "text": with_ids(["7"]), "no ids": with_ids([]), "2^64": with_ids([2 ** 64]),
            "rate that wraps": dict(good, audio={"sample_rate": 2 ** 32 + 22050}),
            "rate of a fraction": dict(good, audio={"sample_rate": 22050.5}),
            "rate as text": dict(good, audio={"sample_rate": "22050"}),
            "many speakers": dict(good, num_speakers=2 ** 40), "fewer than none": dict(good, num_speakers=-2),
            "default beyond": dict(good, num_speakers=2, default_speaker_id=2),
            "speakers beyond": dict(good, num_speakers=2, speaker_id_map={"a": 0, "b": 9}),
            "scales that are text": dict(good, inference={"noise_scale": "x"}),
            "no object": [],
        }
        for name, document in documents.items():
            with self.subTest(name):
                self.refuses(PIPER, PIPER_JSON, json.dumps(document).encode(), "Hello.", "-o", "o.wav")
        with self.subTest("deep"):
            self.refuses(PIPER, PIPER_JSON, deep(1_000_000), "Hello.", "-o", "o.wav")

    @needs("kokoro")
    def test_styles_of_a_voice(self):
        folder = models_folder() / "kokoro" / "voices"
        file = sorted(x.name for x in folder.iterdir() if x.suffix == ".npy")[0]
        whole = (folder / file).read_bytes()
        start = 10 + struct.unpack("<H", whole[8:10])[0]

        def npy(shape, data, descr="<f4"):
            header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
            return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + data
        data = whole[start:]
        nan = bytearray(data)
        nan[4000:4004] = struct.pack("<f", float("nan"))
        rows = len(data) // 1024
        for name, content in {"a larger shape": npy((10 ** 10, 1, 256), data), "a smaller shape": npy((rows - 1, 1, 256), data),
                              "other numbers": npy((rows, 1, 256), data, "<f8"), "NaN": npy((rows, 1, 256), bytes(nan)),
                              "cut": whole[:-100], "no header": b"\x93NUMPY\x01\0\xff\xff"}.items():
            with self.subTest(name):
                models = self.models_with("kokoro", {"voices": None})
                (pathlib.Path(models) / "kokoro" / "voices").mkdir()
                (pathlib.Path(models) / "kokoro" / "voices" / file).write_bytes(content)
                done = self.limited("Hello.", "-o", "o.wav", "-p", "voice=kokoro", MORPH_MODELS=models)
                self.assertEqual(done.returncode, WEIGHTS, done.stderr)
                self.assertIn(file, done.stderr)

    @needs("pp-ocr-v6-tiny")
    def test_graphs_with_flipped_bits(self):
        """In one line of our own, without another project's source paths."""
        whole = (models_folder() / "pp-ocr-v6-tiny" / "det.onnx").read_bytes()
        for seed in range(4):
            dice = random.Random(seed)
            changed = bytearray(whole)
            for _ in range(3000):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            with self.subTest(seed):
                models = self.models_with("pp-ocr-v6-tiny", {"det.onnx": bytes(changed)})
                done = self.limited(SCAN, "-p", "model=pp-ocr-v6-tiny", MORPH_MODELS=models)
                self.one_line(done, WEIGHTS, "det.onnx")
                self.assertNotIn(".cpp", done.stderr)

    @needs("whisper-tiny.en", PIPER)
    def test_what_is_no_file(self):
        """A pipe, a device or a folder where a file of a checkpoint belongs: refused by name, at once."""
        for model, file, arguments in (("whisper-tiny.en", "config.json", (QUESTION, *TINY, "-o", "o.txt")),
                                       ("whisper-tiny.en", "tokenizer.json", (QUESTION, *TINY, "-o", "o.txt")),
                                       ("whisper-tiny.en", "model.safetensors", (QUESTION, *TINY, "-o", "o.txt")),
                                       (PIPER, PIPER_JSON, ("Hello.", "-o", "o.wav")),
                                       (PIPER, PIPER_JSON[:-5], ("Hello.", "-o", "o.wav"))):
            for kind in ("pipe", "folder", "device"):
                with self.subTest(file=file, kind=kind):
                    models = self.models_with(model, {file: None})
                    path = pathlib.Path(models) / model / file
                    if kind == "pipe":
                        os.mkfifo(path)
                    elif kind == "folder":
                        path.mkdir()
                    else:
                        path.symlink_to("/dev/zero")
                    done = self.limited(*arguments, seconds=60, MORPH_MODELS=models)
                    self.assertEqual(done.returncode, WEIGHTS, done.stderr)
                    self.assertTrue(file in done.stderr or model in done.stderr, done.stderr)

    def test_odd_records_of_models(self):
        """One odd checkpoint concerns itself alone."""
        models = self.folder / "models"
        for name, content in {"a-number": b'{"family": 7, "licence": {"x": []}}', "b-deep": deep(500_000),
                              "c-text": b"<html>", "d-codes": '{"licence": "\u009b31m\u202e"}'.encode(),
                              "e-good": b'{"family": "toy", "licence": "MIT"}'}.items():
            (models / name).mkdir(parents=True)
            (models / name / "morph.json").write_bytes(content)
        (models / "f-pipe").mkdir()
        os.mkfifo(models / "f-pipe" / "morph.json")
        (models / os.fsdecode(b"g-caf\xe9")).mkdir()
        environment = {"MORPH_MODELS": str(models), "MORPH_CACHE": str(self.folder / "cache")}
        done = subprocess.run([BINARY, "models"], capture_output=True, env=dict(os.environ, **environment), timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("a-number", "b-deep", "c-text", "d-codes", "e-good", "f-pipe"):
            self.assertIn(name, done.stdout.decode("utf-8"))
        self.assertNotIn(b"\xc2\x9b", done.stdout)
        done = self.succeeds("models", "--json", **environment)
        self.assertEqual({m["name"]: m["licence"] for m in json.loads(done.stdout)}["e-good"], "MIT")


class Pipelines(Hostile):
    """The limit of time is the test's (HANG_S): what grows with the square of a document is over in seconds."""

    def chain(self, n, name="s{}", stage="text/clauses"):
        names = [name.format(i) for i in range(n)]
        document = {"morph": 1, "name": "chain", "inputs": {"text": {"type": "text", "to": names[0] + ".text"}},
                    "outputs": {"text": {"type": "text", "from": names[-1] + ".text"}},
                    "stages": {each: {"stage": stage} for each in names},
                    "links": [{"from": a + ".text", "to": b + ".text"} for a, b in zip(names, names[1:])]}
        (self.folder / "chain.json").write_text(json.dumps(document))
        return document

    def test_many_stages(self):
        self.chain(3000)
        done = self.limited("run", "./chain.json", "Hello there. It works.")
        self.assertEqual((done.returncode, done.stdout), (0, "Hello there. It works.\n"), done.stderr)
        self.chain(5000)
        self.assertIn("4096", self.limited("run", "./chain.json", "Hello.").stderr)

    def test_many_wrong_names(self):
        for name, stage in (("s{}", "text/clause"), ("a" * 150 + "{}", "text/clauses")):
            document = self.chain(1500, name, stage)
            for link in document["links"]:
                link["to"] = "b" + link["to"]
            (self.folder / "chain.json").write_text(json.dumps(document))
            self.assertEqual(self.limited("run", "./chain.json", "Hello.").returncode, 3)


class Sounds(Hostile):
    def test_rates_and_numbers(self):
        tone = [1000 if i % 40 < 20 else -1000 for i in range(40000)]
        for rate in (0, 1, 7, 999, 2 ** 31 - 1, 2 ** 32 - 1):
            with self.subTest(rate=rate):
                (self.folder / "a.wav").write_bytes(wav(tone, rate))
                done = self.limited("a.wav", *TINY, "-o", "o.txt")
                self.assertEqual(done.returncode, FORMAT, done.stderr)
        for bad in (float("nan"), float("inf"), -float("inf")):
            for place in (0, 9000, 19999):
                with self.subTest(sample=bad, place=place):
                    samples = [0.1] * 20000
                    samples[place] = bad
                    (self.folder / "n.wav").write_bytes(wav(samples, kind="f32"))
                    done = self.limited("n.wav", *TINY, "-o", "o.txt")
                    self.assertEqual(done.returncode, FORMAT, done.stderr)
                    self.assertIn("n.wav", done.stderr)


class Hubs(Hostile):
    def pull(self, hub, *options, name="hf:org/name", **environment):
        return self.limited("pull", name, *options, MORPH_HUB=hub.address, MORPH_CACHE=str(self.folder / "cache"),
                            **environment)

    @staticmethod
    def entry(name="a.json", data=b"{}", **changes):
        return dict({"rfilename": name, "size": len(data),
                     "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}, **changes)

    def test_listings_of_wrong_types(self):
        entry = self.entry
        listings = [{"sha": 17, "siblings": [entry()]}, {"sha": "", "siblings": [entry()]},
                    {"sha": "../x", "siblings": [entry()]}, {"siblings": [entry()]},
                    {"sha": "c0ffee", "siblings": [entry(), entry()]}, {"sha": "c0ffee", "siblings": {"a": entry()}},
                    {"sha": "c0ffee", "siblings": [7]}, {"sha": "c0ffee", "siblings": [entry(blobId=7)]},
                    {"sha": "c0ffee", "siblings": [entry(blobId="zz")]},
                    {"sha": "c0ffee", "siblings": [entry(lfs={"size": 2, "sha256": "short"})]},
                    {"sha": "c0ffee", "siblings": [entry("x" * 300)]}, {"sha": "c0ffee", "siblings": [entry("a\nb")]},
                    {"sha": "c0ffee", "siblings": [entry("a\u202eb")]}]
        listings += [{"sha": "c0ffee", "siblings": [entry(size=size), entry("b.json", size=size)]}
                     for size in (-5, 1e300, 2 ** 63, 2 ** 64 - 1, 1.5, "2", None, [])]
        for listing in listings:
            with self.subTest(listing), Hub({"a.json": b"{}"}, listing=json.dumps(listing).encode()) as hub:
                done = self.pull(hub)
                self.one_line(done, FORMAT, "listing")
        self.assertFalse((self.folder / "cache" / "models" / "name").exists())

    def test_listings_that_grow(self):
        """Bounded in depth, in bytes and in the memory they become."""
        for name, body in {"deep": deep(15_000_000), "many": b'{"siblings":[' + b"{}," * 9_000_000 + b"{}]}",
                           "large": b'{"sha":"' + b"x" * (60 << 20) + b'"}'}.items():
            with self.subTest(name), Hub({}, listing=body) as hub:
                done = subprocess.run([BINARY, "pull", "hf:org/name", "--to", "d"], capture_output=True, text=True,
                                      cwd=self.folder, env=dict(os.environ, MORPH_HUB=hub.address), timeout=60,
                                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (400 << 20,) * 2),
                                      check=False)
                self.one_line(done, FORMAT, "listing")

    def test_files_without_a_hash(self):
        listing = json.dumps({"sha": "c0ffee", "siblings": [{"rfilename": "a.json", "size": 2}]}).encode()
        with Hub({"a.json": b"{}"}, listing=listing) as hub:
            done = self.pull(hub)
            self.one_line(done, WEIGHTS, "a.json", "hash")
            done = self.pull(hub, "--unchecked")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("a.json", done.stderr)

    def test_another_model_of_the_same_name(self):
        mine = self.folder / "cache" / "models" / "name"
        mine.mkdir(parents=True)
        (mine / "config.json").write_text("mine")
        with Hub({"config.json": b"theirs"}) as hub:
            self.one_line(self.pull(hub), CONFIG, "--to", str(mine))
            self.assertEqual((mine / "config.json").read_text(), "mine")
            self.assertEqual([p.name for p in mine.iterdir()], ["config.json"])
            self.assertEqual(self.pull(hub, "--to", "elsewhere").returncode, 0)
            self.assertEqual((self.folder / "elsewhere" / "config.json").read_bytes(), b"theirs")
            self.assertEqual(self.pull(hub, "--force").returncode, 0)
            self.assertEqual((mine / "config.json").read_bytes(), b"theirs")

    def test_whole_or_not_at_all(self):
        """A pull that fails half-way leaves the folder as it was: absent, or the model that was in it."""
        first = {"a.json": b"one", "b.json": b"one"}
        target = self.folder / "cache" / "models" / "name"
        with Hub(first, {"b.json": "missing"}) as hub:
            self.assertNotEqual(self.pull(hub).returncode, 0)
            self.assertFalse(target.exists())
        with Hub(first) as hub:
            self.assertEqual(self.pull(hub).returncode, 0)
        (target / "own.txt").write_text("kept")
        second = {"a.json": b"two", "b.json": b"two"}
        with Hub(second, {"b.json": "missing"}) as hub:
            self.assertNotEqual(self.pull(hub).returncode, 0)
            self.assertEqual((target / "a.json").read_bytes() + (target / "b.json").read_bytes(), b"oneone")
        with Hub(second) as hub:
            self.assertEqual(self.pull(hub).returncode, 0)
        self.assertEqual((target / "a.json").read_bytes() + (target / "b.json").read_bytes(), b"twotwo")
        self.assertEqual((target / "own.txt").read_text(), "kept")

    def test_two_pulls_at_once(self):
        files = {f"f{i}.json": bytes([i]) * 900 for i in range(20)}
        with Hub(files) as hub:
            environment = dict(os.environ, MORPH_HUB=hub.address, MORPH_CACHE=str(self.folder / "cache"))
            pulls = [subprocess.Popen([BINARY, "pull", "hf:org/name"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=environment) for _ in range(4)]
            for pull in pulls:
                _, said = pull.communicate(timeout=120)
                self.assertEqual(pull.returncode, 0, said)
        folder = self.folder / "cache" / "models" / "name"
        self.assertEqual({p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}, files)

    def test_what_is_not_believed(self):
        with Hub({"config.json": b"{}", "morph.json": b'{"family": "whisper"}', ".hub.json": b'{"source": "x"}'}) as hub:
            self.assertEqual(self.pull(hub, "--to", "d").returncode, 0)
        self.assertFalse((self.folder / "d" / "morph.json").exists())
        self.assertEqual(json.loads((self.folder / "d" / ".hub.json").read_text())["source"], "hf:org/name")

    def test_no_token_over_plain_http(self):
        for address in ("http://example.invalid", "http://127.0.0.1.example.invalid", "http://user@example.invalid:80",
                        "http://localhost.example.invalid"):
            with self.subTest(address):
                done = self.limited("pull", "hf:org/name", MORPH_HUB=address, HF_TOKEN="secret")
                self.one_line(done, CONFIG, "HF_TOKEN")
                self.assertNotIn("secret", done.stderr)
        with Hub({"a.json": b"{}"}) as hub:  # this machine is no network
            self.assertEqual(self.pull(hub, "--to", "d", HF_TOKEN="secret").returncode, 0)


class Outputs(Hostile):
    LONG = "The tide comes in slowly, and then all at once. " * 400

    def quick(self, code, *arguments):
        """Refused before any model is looked for: there is none."""
        done = self.limited(*arguments, MORPH_MODELS=str(self.folder / "none"), MORPH_CACHE=str(self.folder / "cache"))
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_what_cannot_be_written(self):
        (self.folder / "folder").mkdir()
        (self.folder / "text.txt").write_text("Say yes.")
        for name in ("no/such/x.srt", "no/such/x.wav", "x" * 300 + ".wav", "x" * 300 + ".txt"):
            with self.subTest(name):
                self.assertIn(name[:100], self.quick(CONFIG, "text.txt", "-o", name).stderr)
        (self.folder / "folder.txt").mkdir()
        self.assertIn("folder.txt", self.quick(CONFIG, "text.txt", "-o", "folder.txt").stderr)
        self.assertIn("no/such", self.quick(CONFIG, "text.txt", "-o", "o.txt", "--trace", "no/such/t.json").stderr)

    def test_what_would_be_lost(self):
        (self.folder / "text.txt").write_text("Say yes.")
        (self.folder / "link.txt").symlink_to("text.txt")
        (self.folder / "sub").mkdir()
        for out in ("text.txt", "./text.txt", "link.txt", "sub/../text.txt", str(self.folder / "text.txt")):
            with self.subTest(out):
                self.assertIn("input", self.quick(CONFIG, "text.txt", "-o", out).stderr)
                self.assertEqual((self.folder / "text.txt").read_text(), "Say yes.")
        self.quick(CONFIG, "text.txt", "-o", "o.txt", "--trace", "o.txt")
        self.quick(CONFIG, "text.txt", "-o", "o.txt", "--trace", "text.txt")
        self.assertEqual((self.folder / "text.txt").read_text(), "Say yes.")

    @needs("smollm2-135m-instruct")
    def test_rights_and_links(self):
        (self.folder / "o.txt").write_text("old")
        (self.folder / "o.txt").chmod(0o600)
        (self.folder / "link.txt").symlink_to("made.txt")
        for out in ("o.txt", "link.txt"):
            self.succeeds("Say yes.", "-o", out, "-p", "max_tokens=3")
        self.assertEqual((self.folder / "o.txt").stat().st_mode & 0o777, 0o600)
        self.assertTrue((self.folder / "link.txt").is_symlink())
        self.assertTrue((self.folder / "made.txt").is_file())

    @needs(PIPER)
    def test_a_named_pipe(self):
        os.mkfifo(self.folder / "f.wav")
        reader = subprocess.Popen(["cat", "f.wav"], stdout=subprocess.PIPE, cwd=self.folder)
        self.succeeds("Hello there.", "-o", "f.wav")
        data, _ = reader.communicate(timeout=60)
        self.assertEqual(data[:4], b"RIFF")
        self.assertEqual(self.files(), ["f.wav"])

    @needs(PIPER)
    def test_signals_leave_nothing(self):
        (self.folder / "t.txt").write_text(self.LONG)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with self.subTest(number):
                process = self.start("t.txt", "-o", "x.wav", stdin=subprocess.DEVNULL)
                time.sleep(3)
                self.assertIsNone(process.poll(), "ended by itself")
                process.send_signal(number)
                self.assertNotEqual(process.wait(60), 0)
                self.assertEqual(self.files(), ["t.txt"])

    @needs(PIPER)
    def test_a_limit_of_file_size(self):
        (self.folder / "t.txt").write_text(self.LONG[:400])
        done = subprocess.run([BINARY, "t.txt", "-o", "x.wav"], capture_output=True, text=True, cwd=self.folder,
                              timeout=120, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
        self.assertEqual(done.returncode, RESOURCE, done.stderr)
        self.assertEqual(self.files(), ["t.txt"])

    @needs("smollm2-135m-instruct")
    def test_names_that_are_not_utf8(self):
        name = os.fsdecode(b"caf\xe9.txt")
        (self.folder / name).write_text("Say yes.")
        self.succeeds(name, "-o", "x.txt", "-p", "max_tokens=3", "-q")
        record = json.loads((self.folder / "x.txt.provenance.json").read_text())
        self.assertEqual(bytes.fromhex(record["bindings"][0]["params"]["path"]["bytes"]),
                         os.fsencode(self.folder.resolve() / name))
        self.assertIn("same bytes", self.succeeds("replay", "x.txt").stdout)
        done = subprocess.run([BINARY, "Say yes.", "-q", "-o", os.fsdecode(b"o\xe9.txt"), "--json", "-p", "max_tokens=3"],
                              capture_output=True, cwd=self.folder, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["outputs"][0], {"bytes": b"o\xe9.txt".hex()})

    @needs("smollm2-135m-instruct")
    def test_records_that_say_less(self):
        self.succeeds("Say yes to Mary.", "-o", "a.txt", "-p", "max_tokens=3", "--provenance", "none")
        self.assertEqual(self.files(), ["a.txt"])
        self.succeeds("Say yes to Mary.", "-o", "b.txt", "-p", "max_tokens=3", "--provenance", "discreet")
        text = (self.folder / "b.txt.provenance.json").read_text()
        self.assertNotIn("Mary", text)
        self.assertNotIn(str(self.folder), text)
        self.one_line(self.limited("replay", "b.txt"), CONFIG, "leaves out")


class Replay(Hostile):
    @needs("smollm2-135m-instruct")
    def test_neighbours_are_left_alone(self):
        self.succeeds("Say yes.", "-o", "a.txt", "-p", "max_tokens=3")
        (self.folder / "victim").write_text("PRECIOUS")
        (self.folder / ".a.replay.txt").symlink_to("victim")
        before = self.files()
        self.assertIn("same bytes", self.succeeds("replay", "a.txt").stdout)
        self.assertEqual(self.files(), before)
        self.assertEqual((self.folder / "victim").read_text(), "PRECIOUS")
        self.one_line(self.limited("replay", "a.txt", "-o", "a.txt"), CONFIG, "a.txt")

    @needs("smollm2-135m-instruct")
    def test_altered_records(self):
        (self.folder / "in.txt").write_text("Say yes.")
        self.succeeds("in.txt", "-o", "a.txt", "-p", "max_tokens=3")
        beside = self.folder / "a.txt.provenance.json"
        good = json.loads(beside.read_text())

        def altered(change):
            record = json.loads(json.dumps(good))
            change(record)
            beside.write_text(json.dumps(record))
            return self.limited("replay", "a.txt")
        no_hash = altered(lambda r: r["bindings"][0].pop("sha256"))
        self.one_line(no_hash, FORMAT, "hash")
        self.assertEqual(altered(lambda r: r["bindings"][0]["params"].update(path="/dev/zero")).returncode, CONFIG)
        for change in (lambda r: r.update(seed="x"), lambda r: r.update(threads=-1), lambda r: r.update(bindings=7),
                       lambda r: r.update(weights=[7]), lambda r: r.update(params=[]), lambda r: r.update(pipeline=3),
                       lambda r: r.update(threads="many")):
            done = altered(change)
            self.assertIn(done.returncode, (FORMAT, WEIGHTS, 3), done.stderr)
            self.assertNotIn("please report", done.stderr)
        done = altered(lambda r: r.update(threads=10 ** 15))  # bounded by what this process may use
        self.assertEqual(done.returncode, 0, done.stderr)
        for content in (deep(1_000_000), b"[" + b"0," * 1_000_000 + b"0]", b"\xff"):
            beside.write_bytes(content)
            self.one_line(self.limited("replay", "a.txt"), FORMAT)
        beside.unlink()
        os.mkfifo(beside)
        self.one_line(self.limited("replay", "a.txt", seconds=30), FORMAT)


class Streams(Hostile):
    def with_error_to(self, redirection, *arguments):
        command = " ".join(f"'{a}'" for a in (BINARY, *map(str, arguments)))
        return subprocess.run(["bash", "-c", f"{command} {redirection}"], cwd=self.folder, timeout=120, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).returncode

    def test_messages_never_decide(self):
        """A refusal keeps its exit code, whatever becomes of its text."""
        for redirection in ("2>/dev/full", "2>&-", "2>&- >&- <&-", "2> >(true)", "2> >(sleep 5)"):
            with self.subTest(redirection):
                self.assertEqual(self.with_error_to(redirection, "no-such-file.wav"), CONFIG)
                self.assertEqual(self.with_error_to(redirection, "--no-such-option"), CONFIG)

    @needs(PIPER)
    def test_outputs_are_made_all_the_same(self):
        for number, redirection in enumerate(("2>/dev/full", "2>&-", ">&- 2>&- <&-", "2> >(true)", "2> >(sleep 9)")):
            with self.subTest(redirection):
                name = f"o{number}.wav"
                self.assertEqual(self.with_error_to(redirection, "Hello.", "--metrics", "-o", name), 0)
                self.assertEqual((self.folder / name).read_bytes()[:4], b"RIFF")

    @needs("smollm2-135m-instruct")
    def test_threads_beyond_the_cores(self):
        done = self.limited("Say yes.", "-p", "max_tokens=3", "--threads", "1000", gib=64)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("threads", done.stderr)


if __name__ == "__main__":
    unittest.main()
