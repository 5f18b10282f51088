"""Families that are no part of the starter pack, through the command: verified, embedding a text, speaking with a voice, from
the small golden sets in tests/families/golden/. Standard library only; ctest runs it as command.families."""
import json
import pathlib
import struct
import sys
import unittest
import wave

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from command_case import SOURCE, WEIGHTS, CommandCase  # noqa: E402

GOLDEN = SOURCE / "tests" / "families" / "golden"


def read_npy(path):
    data = path.read_bytes()
    assert data[:6] == b"\x93NUMPY"
    n = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + n].decode()
    return header, struct.unpack(f"<{(len(data) - 10 - n) // 4}f", data[10 + n:])


class Families(CommandCase):
    def test_verify_says_what_ran(self):
        for name, family in (("bert", "bert"), ("vits", "vits")):
            told = json.loads(self.succeeds("verify", GOLDEN / name, "--json").stdout)
            self.assertEqual(told["family"], family)
            self.assertTrue(all(row["status"] == "pass" for row in told["rows"]), told)
            configurations = {row["configuration"].split(":")[0] for row in told["rows"]}
            self.assertEqual(configurations, {"exact", "stored"})
            self.assertTrue(all(row["tolerance"] > 0 for row in told["rows"]))

    def test_a_text_becomes_a_vector(self):
        self.succeeds("the cat sat", "-o", "one.npy", "-p", f"model={GOLDEN / 'bert'}")
        header, one = read_npy(self.folder / "one.npy")
        self.assertIn("'shape': (18,)", header)
        self.assertAlmostEqual(sum(value * value for value in one), 1.0, places=4)
        (self.folder / "many.txt").write_text("the cat sat\nthe dog sat on the mat\n")
        self.succeeds("many.txt", "-o", "many.npy", "-p", f"model={GOLDEN / 'bert'}", "-p", "in.text.lines=true")
        header, many = read_npy(self.folder / "many.npy")
        self.assertIn("'shape': (2, 18)", header)
        for i in range(18):
            self.assertAlmostEqual(many[i], one[i], places=4)

    def test_a_voice_of_hugging_face_speaks(self):
        self.succeeds("Hello there.", "-o", "hello.wav", "-p", f"voice={GOLDEN / 'vits'}")
        with wave.open(str(self.folder / "hello.wav")) as spoken:
            self.assertEqual(spoken.getframerate(), 8000)
            self.assertGreater(spoken.getnframes(), 400)

    def test_a_folder_of_another_job(self):
        self.refused(WEIGHTS, ["voice", "bert"], "Hello.", "-o", "hello.wav", "-p", f"voice={GOLDEN / 'bert'}")
        self.refused(WEIGHTS, ["embedder", "vits"], "Hello.", "-o", "a.npy", "-p", f"model={GOLDEN / 'vits'}")

    def test_models_lists_jobs(self):
        told = self.succeeds("models", "--families").stdout
        for line in ("bert", "embedder", "vits", "voice", "whisper", "recogniser"):
            self.assertIn(line, told)


if __name__ == "__main__":
    unittest.main()
