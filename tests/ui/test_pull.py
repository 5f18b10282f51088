"""`morph pull hf:...` against a local server that drops, truncates and lies. Standard library only."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hostile_hub import Hub  # noqa: E402

BINARY = os.environ.get("MORPH_BINARY", "build/release/bin/morph")
FILES = {
    "config.json": b'{"model_type": "toy"}',
    "model.safetensors": bytes(range(256)) * 900,
    "sub folder/vocab.txt": b"a\nb\n",
    "pytorch_model.bin": b"\x80\x04pickle" * 200,
}


def pull(hub, folder, *options):
    environment = dict(os.environ, MORPH_HUB=hub if isinstance(hub, str) else hub.address, MORPH_CACHE=str(folder / "cache"))
    return subprocess.run([BINARY, "pull", "hf:org/name", "--to", str(folder / "out"), *options],
                          capture_output=True, text=True, env=environment, timeout=120, check=False)


class Pull(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.addCleanup(self.temporary.cleanup)

    def read(self, path):
        return (self.folder / "out" / path).read_bytes()

    def test_fetches_what_is_useful_and_no_pickle(self):
        with Hub(FILES) as hub:
            done = pull(hub, self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        for path in ("config.json", "model.safetensors", "sub folder/vocab.txt"):
            self.assertEqual(self.read(path), FILES[path])
        self.assertFalse((self.folder / "out" / "pytorch_model.bin").exists())

    def test_second_pull_asks_for_no_file(self):
        with Hub(FILES) as hub:
            self.assertEqual(pull(hub, self.folder).returncode, 0)
            hub.requests.clear()
            self.assertEqual(pull(hub, self.folder).returncode, 0)
            self.assertEqual([r for r in hub.requests if "/resolve/" in r[0]], [])

    def test_resumes_what_was_dropped(self):
        with Hub({"model.safetensors": FILES["model.safetensors"]}, {"model.safetensors": "drop"}) as hub:
            done = pull(hub, self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.read("model.safetensors"), FILES["model.safetensors"])
            self.assertTrue(any(r[1] for r in hub.requests), "no request asked for a range")

    def test_server_without_ranges(self):
        with Hub({"model.safetensors": FILES["model.safetensors"]}, {"model.safetensors": "no-range"}) as hub:
            done = pull(hub, self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.read("model.safetensors"), FILES["model.safetensors"])

    def test_busy_server_is_asked_again(self):
        with Hub({"config.json": FILES["config.json"]}, {"config.json": "error"}) as hub:
            done = pull(hub, self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_lie_is_named_and_leaves_nothing(self):
        for size in ("model.safetensors", "config.json"):
            with self.subTest(size), Hub({size: FILES[size]}, {size: "lie"}) as hub:
                done = pull(hub, self.folder)
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertIn(size, done.stderr)
                self.assertFalse((self.folder / "out" / size).exists())

    def test_more_than_listed_is_refused(self):
        with Hub({"config.json": FILES["config.json"]}, {"config.json": "long"}) as hub:
            done = pull(hub, self.folder)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertFalse((self.folder / "out" / "config.json").exists())

    def test_gives_up_on_endless_truncation_but_keeps_the_part(self):
        with Hub({"model.safetensors": FILES["model.safetensors"]}, {"model.safetensors": "truncate"}) as hub:
            done = pull(hub, self.folder)
        # Halves of halves: what arrives is kept for the next time, nothing appears under the final name.
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertFalse((self.folder / "out" / "model.safetensors").exists())
        self.assertTrue((self.folder / ".out.pull" / "model.safetensors.part").exists())
        self.assertFalse((self.folder / "out").exists())

    def test_path_outside_the_folder_is_refused(self):
        for path in ("../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "a\\b"):
            with self.subTest(path), Hub({path: b"evil"}) as hub:
                done = pull(hub, self.folder)
                self.assertEqual(done.returncode, 4, done.stderr)
                self.assertFalse((self.folder / "evil.txt").exists())

    def test_listing_that_is_not_one(self):
        for body in (b"<html>", b"[]", b'{"siblings": 3}', b'{"siblings": [{"rfilename": 7}]}'):
            with self.subTest(body), Hub({}, listing=body) as hub:
                done = pull(hub, self.folder)
                self.assertEqual(done.returncode, 4, done.stderr)

    def test_unknown_model_and_no_network(self):
        with Hub({}) as hub:
            environment = dict(os.environ, MORPH_HUB=hub.address)
            done = subprocess.run([BINARY, "pull", "hf:org/other", "--to", str(self.folder / "o")], capture_output=True,
                                  text=True, env=environment, timeout=60, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
        done = pull("http://127.0.0.1:9", self.folder)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("MORPH_HUB", done.stderr)

    def test_bad_names(self):
        """Whatever could lead out of the models folder is refused before anything is asked or written."""
        names = ("hf:nothing", "hf:../x/y", "ftp://x/y", f"hf:org/{self.folder}/name", "hf:org//name", "hf:/org/name",
                 "hf:org/", "hf:org/.", "hf:org/..", "hf:./name", "hf:org/name/", "hf:org/a/b", "hf:org/name@", "hf:/name",
                 "hf:org/name@../../x", "hf:org/name@/x", "hf:org/na me", "hf:org/-name", "hf:@main", "hf:")
        with Hub(FILES) as hub:
            for name in names:
                with self.subTest(name):
                    environment = dict(os.environ, MORPH_HUB=hub.address, MORPH_CACHE=str(self.folder / "cache"))
                    environment.pop("MORPH_MODELS", None)
                    done = subprocess.run([BINARY, "pull", name], capture_output=True, text=True, timeout=60,
                                          check=False, env=environment)
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertIn("error (config)", done.stderr)
            self.assertEqual(hub.requests, [])
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_changed_since_is_fetched_again(self):
        for path in ("model.safetensors", "config.json"):
            with self.subTest(path), Hub(FILES) as hub:
                self.assertEqual(pull(hub, self.folder).returncode, 0)
                file = self.folder / "out" / path
                file.write_bytes(bytes(b ^ 1 for b in FILES[path]))  # of the same size
                hub.requests.clear()
                done = pull(hub, self.folder)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.read(path), FILES[path])
                self.assertIn(path, done.stderr)
                self.assertEqual([r[0] for r in hub.requests if "/resolve/" in r[0]],
                                 ["/org/name/resolve/c0ffee/" + path])

    def test_hashes_are_remembered_while_size_and_time_stay(self):
        with Hub(FILES) as hub:
            for _ in range(2):
                self.assertEqual(pull(hub, self.folder).returncode, 0)
            store = self.folder / "cache" / "hashes.json"
            remembered = json.loads(store.read_text())
            self.assertEqual([key.split("|")[0] for key in remembered],
                             [str(self.folder / "out" / "model.safetensors")])
            self.assertEqual(list(remembered.values()), [hashlib.sha256(FILES["model.safetensors"]).hexdigest()])
            # What is remembered is believed: another hash there makes the file look foreign.
            store.write_text(json.dumps({key: "0" * 64 for key in remembered}))
            hub.requests.clear()
            self.assertEqual(pull(hub, self.folder).returncode, 0)
            self.assertEqual([r[0] for r in hub.requests if "/resolve/" in r[0]],
                             ["/org/name/resolve/c0ffee/model.safetensors"])

    def test_folder_that_cannot_be(self):
        (self.folder / "out").write_text("a file")
        with Hub(FILES) as hub:
            done = pull(hub, self.folder)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(str(self.folder / "out"), done.stderr)


if __name__ == "__main__":
    unittest.main()
