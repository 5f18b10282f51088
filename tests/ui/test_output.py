"""What the command writes is whole or not there: standard output that cannot take it is an error, files appear by
rename and touch no neighbour. Standard library only; ctest runs it as command.output."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from command_case import BINARY, CONFIG, RESOURCE, CommandCase, needs  # noqa: E402



class Output(CommandCase):
    def to_full_disk(self, *arguments):
        with open("/dev/full", "w", encoding="utf-8") as full:
            return subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, cwd=self.folder,
                                  timeout=60, check=False)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_standard_output_that_is_full(self):
        for arguments in (("models", "--devices", "--json"), ("models", "--stages"), ("run", "--list"), ("--help",),
                          ("run", "--list", "--json")):
            with self.subTest(arguments):
                done = self.to_full_disk(*arguments)
                self.assertEqual(done.returncode, RESOURCE, done.stderr)
                self.assertIn("standard output", done.stderr)
                self.assertNotIn("please report", done.stderr)

    def test_reader_that_goes(self):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([BINARY, "models", "--stages"], stdout=writing, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False)
        os.close(writing)
        self.assertEqual(done.returncode, RESOURCE, done.stderr)
        self.assertIn("standard output", done.stderr)
        self.assertNotIn("please report", done.stderr)

    @needs("smollm2-135m-instruct")
    def test_explain_touches_no_neighbour(self):
        for name in ("plan.json", "plan.txt", "plan.dot", "plan.svg"):
            with self.subTest(name):
                (self.folder / (name + ".part")).write_text("mine")
                (self.folder / (name + ".dot.part")).write_text("mine")
                before = set(self.files())
                self.succeeds("explain", "What is a glacier?", "-o", name)
                self.assertEqual(set(self.files()) - before, {name})
                self.assertEqual((self.folder / (name + ".part")).read_text(), "mine")
                self.assertEqual((self.folder / (name + ".dot.part")).read_text(), "mine")
                self.assertGreater((self.folder / name).stat().st_size, 100)
        json.loads((self.folder / "plan.json").read_text())
        self.assertIn("<svg", (self.folder / "plan.svg").read_text())
        self.refused(CONFIG, "none/plan.svg", "explain", "What is a glacier?", "-o", "none/plan.svg")

    @needs("smollm2-135m-instruct")
    def test_trace_that_cannot_be_written_is_known_before_anything_is_made(self):
        self.refused(CONFIG, "none/trace.json", "Say yes.", "-o", "out.txt", "--trace", "none/trace.json")

    @needs("smollm2-135m-instruct")
    def test_record_that_cannot_be_replaced(self):
        (self.folder / "out.txt.provenance.json").mkdir()
        (self.folder / "out.txt.provenance.json" / "full").write_text("x")
        done = self.morph("Say yes.", "-o", "out.txt", "-p", "max_tokens=4")
        self.assertEqual(done.returncode, CONFIG, done.stderr)
        self.assertIn("out.txt.provenance.json", done.stderr)

    @needs("smollm2-135m-instruct")
    def test_record_touches_no_neighbour(self):
        (self.folder / "out.txt.provenance.json.part").write_text("mine")
        self.succeeds("Say yes.", "-o", "out.txt", "-p", "max_tokens=4")
        self.assertEqual(self.files(), ["out.txt", "out.txt.provenance.json", "out.txt.provenance.json.part"])
        self.assertEqual((self.folder / "out.txt.provenance.json.part").read_text(), "mine")
        json.loads((self.folder / "out.txt.provenance.json").read_text())


if __name__ == "__main__":
    unittest.main()
