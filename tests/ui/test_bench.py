"""`morph bench`: the table and its JSON, refusals, and that a figure is judged against its target. No timed assertions:
what is checked is that figures are there, positive and consistent with each other. The Python peers are
not needed."""
import json
import subprocess
import sys
import unittest

from command_case import CONFIG, RESOURCE, WEIGHTS, SOURCE, CommandCase, needs

PEERS = SOURCE / "tests/bench/peers"


class Bench(CommandCase):
    def rows(self, *arguments, **environment):
        done = self.morph("bench", *arguments, "--json", **environment)
        document = json.loads(done.stdout)
        missed = [row["what"] for row in document["rows"] if not row.get("met", True)]
        self.assertEqual(done.returncode, 1 if missed else 0, done.stderr)
        for what in missed:
            self.assertIn(what, done.stderr)
        self.assertEqual(document["failed"], [])
        self.assertEqual(document["noisy"], document["load_per_core"] > 0.5)
        for row in document["rows"]:
            self.assertGreater(row["ours"], 0, row)
            self.assertIn(row["ours"], row["ours_all"], row)
            if "peer" in row:
                self.assertGreater(row["theirs"], 0, row)
                faster = row["unit"] == "tok/s"
                expected = row["ours"] / row["theirs"] if faster else row["theirs"] / row["ours"]
                self.assertAlmostEqual(row["ratio"], expected, places=4)
        return document["rows"]

    def test_hop(self):
        rows = self.rows("hop", "--repeat", "2")
        self.assertEqual([row["bench"] for row in rows], ["hop"])
        self.assertEqual(len(rows[0]["ours_all"]), 2)
        self.assertEqual(rows[0]["ours"], min(rows[0]["ours_all"]))
        self.assertEqual(rows[0]["target"], "<= 20 us")
        self.assertEqual(rows[0]["met"], rows[0]["ours"] <= 20)

    def test_hop_as_a_table(self):
        done = self.morph("bench", "hop", "--repeat", "1")
        self.assertEqual(done.returncode, 1 if "MISSED" in done.stdout else 0, done.stderr)
        self.assertRegex(done.stdout,
                         r"hop +packet from stage to stage +[\d.]+ \([\d.]+\) us +target <= 20 us: (met|MISSED)")
        self.assertEqual(self.files(), [])

    @needs("smollm2-135m-instruct")
    def test_trunk_beside_llama_bench(self):
        prompt, generation = self.rows("trunk", "--repeat", "1", "--threads", "1")
        self.assertEqual((prompt["peer"], generation["peer"]), ("llama-bench", "llama-bench"))
        self.assertEqual((prompt["what"], generation["what"]), ("prompt pp512", "generation tg128"))
        self.assertEqual(prompt["met"], prompt["ratio"] >= 1)

    def test_unknown_name(self):
        self.refused(CONFIG, ["sped", "hearing"], "bench", "sped")

    def test_no_threads(self):
        self.refused(CONFIG, ["--threads"], "bench", "hop", "--threads", "0")

    def test_missing_model_is_named_with_its_remedy(self):
        empty = self.folder / "empty"
        empty.mkdir()
        done = self.morph("bench", "trunk", "--json", MORPH_CACHE=str(empty), MORPH_MODELS=str(empty),
                          MORPH_NO_PULL="1")
        self.assertEqual(done.returncode, WEIGHTS, done.stderr)
        failed = json.loads(done.stdout)["failed"]
        self.assertEqual(failed[0]["bench"], "trunk")
        self.assertIn("smollm2-135m-instruct", failed[0]["error"])
        self.assertIn("fetch.py", failed[0]["error"])

    def test_peers_that_cannot_be_installed(self):
        # An environment whose pip fails, as without a network.
        cache = self.folder / "cache"
        done = self.morph("bench", "hearing", "--json", MORPH_CACHE=str(cache), PIP_NO_INDEX="1",
                          PIP_DISABLE_PIP_VERSION_CHECK="1")
        self.assertEqual(done.returncode, RESOURCE, done.stdout + done.stderr)
        self.assertIn("peers could not be installed", json.loads(done.stdout)["failed"][0]["error"])
        self.assertFalse((cache / "peers/peers.txt").exists(), "a failed installation must be tried again")


class PeersTalk(unittest.TestCase):
    """The protocol of the peers' programs: ready, then a line for each "go"; what libraries print stays out of it."""

    def test_protocol(self):
        program = ("import sys; sys.path.insert(0, sys.argv[1]); import answering; reply = answering.take_stdout();"
                   "print('noise'); answering.serve(reply, lambda: {'n': 1})")
        done = subprocess.run([sys.executable, "-c", program, str(PEERS)], input="go\nother\ngo\n", text=True,
                              capture_output=True, timeout=60, check=True)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()],
                         [{"ready": True}, {"n": 1}, {"n": 1}])
        self.assertIn("noise", done.stderr)


if __name__ == "__main__":
    unittest.main()
