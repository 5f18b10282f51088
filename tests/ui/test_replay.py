"""morph replay: the record comes with a file from anyone, so it may make that file again and write nowhere else.
Standard library only; ctest runs it as command.replay."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from command_case import FORMAT, CommandCase, needs  # noqa: E402

MARKER = b"morph-provenance:1:"


def record_of(path):
    data = path.read_bytes()
    begin = data.index(MARKER) + len(MARKER)
    colon = data.index(b":", begin)
    return json.loads(data[colon + 1:colon + 1 + int(data[begin:colon])])


@needs("piper-en-us-joe")
class Replay(CommandCase):
    def test_the_same_bytes(self):
        self.succeeds("Hello.", "-o", "hello.wav")
        self.assertIn("the same bytes", self.succeeds("replay", "hello.wav").stdout)
        self.assertEqual(self.files(), ["hello.wav"])

    def test_a_record_that_would_write_elsewhere(self):
        self.succeeds("Hello.", "-o", "hello.wav")
        record = record_of(self.folder / "hello.wav")
        target = self.folder / "elsewhere.wav"
        record["pipeline"]["stages"]["second"] = {"stage": "audio/write", "params": {"path": str(target)}}
        record["pipeline"].setdefault("links", []).append({"from": "speak.audio", "to": "second.audio"})
        (self.folder / "hello.wav.provenance.json").write_text(json.dumps(record))
        self.refused(FORMAT, ["elsewhere.wav", "altered"], "replay", "hello.wav")


if __name__ == "__main__":
    unittest.main()
