"""Less memory than is needed ends with exit code 7 and a line that says so, at whatever point it runs out: the command
runs under limits of address space from where the program just starts to where it succeeds, and under budgets. Standard
library only; ctest runs it as command.little_memory."""
import re
import resource
import subprocess
import unittest

from command_case import BINARY, SAMPLES, CommandCase, models_folder

MIB = 1 << 20
FEW = (260, 300, 360, 430, 500, 560, 640, 760, 900, 1100, 1400)


def limited(mib):
    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (mib * MIB, mib * MIB))
    return limit


class LittleMemory(CommandCase):
    def ends_well(self, what, arguments, preexec=None):
        done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              cwd=self.folder, preexec_fn=preexec, timeout=600, check=False)
        self.assertIn(done.returncode, (0, 7), f"{what}: {done.stderr}")
        if done.returncode == 7:
            self.assertRegex(done.stderr, re.compile("memory|address space|thread", re.I), what)
            self.assertTrue(done.stderr.startswith("error (resource): "), f"{what}: {done.stderr}")
        return done.returncode

    def run_under_limits(self, models, *arguments):
        missing = [model for model in models if not (models_folder() / model / "morph.json").exists()]
        if missing:
            self.skipTest(f"not fetched: {', '.join(missing)}")
        codes = [self.ends_well(f"{mib} MiB of address space", arguments, limited(mib)) for mib in FEW if self.starts(mib)]
        self.assertIn(7, codes)

    def starts(self, mib):
        """Below, the system's loader cannot even map the program's libraries."""
        return subprocess.run([BINARY, "--version"], capture_output=True, preexec_fn=limited(mib), check=False).returncode == 0

    def test_chat(self):
        self.run_under_limits(["smollm2-135m-instruct"], "hi", "-q", "-p", "max_tokens=2")

    def test_speaking(self):
        self.run_under_limits(["piper-en-us-joe"], "Hello.", "-q", "-o", "x.wav")

    def test_hearing(self):
        self.run_under_limits(["whisper-tiny.en"], SAMPLES / "question.wav", "-q", "-p", "model=whisper-tiny.en")

    def test_reading(self):
        self.run_under_limits(["pp-ocr-v4"], SAMPLES / "scan.png", "-q")

    def test_budgets(self):
        for budget in ("1MiB", "40MiB", "150MiB", "200MiB", "300MiB"):
            self.ends_well(budget, ["hi", "-q", "-p", "max_tokens=2", "--memory", budget])


if __name__ == "__main__":
    unittest.main()
