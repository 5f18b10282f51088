"""Another program uses Metamorph: it is installed into a folder, found with find_package, compiled, run with two chats on
one loaded model; and the same project takes the sources as a subfolder. Standard library only.

  test_consumer.py BUILD_FOLDER SOURCE_FOLDER GENERATOR_OPTIONS...    (CTest passes them)
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BUILD, SOURCE, OPTIONS = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
sys.path.insert(0, str(SOURCE / "tests" / "ui"))
from command_case import models_folder  # noqa: E402

MODEL = "smollm2-135m-instruct"


def call(*command, **environment):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                          env=dict(os.environ, **environment))
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


class Consumer(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="morph-consumer-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def test_installed(self):
        prefix, build = self.folder / "prefix", self.folder / "build"
        call("cmake", "--install", BUILD, "--prefix", prefix)
        self.assertTrue((prefix / "share/morph/pipelines").is_dir())
        self.assertFalse(list(prefix.rglob("*bench*")), "the benchmark is not part of the product")
        self.assertFalse([path for path in prefix.rglob("*") if "testing" in path.parts])
        call("cmake", "-G", "Ninja", "-S", SOURCE / "tests/consumer", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", *OPTIONS)
        call("cmake", "--build", build)
        outside = {name: value for name, value in os.environ.items() if not name.startswith("MORPH_SH")}
        listed = subprocess.run([prefix / "bin/morph", "run", "--list"], capture_output=True, text=True, env=outside,
                                check=True, cwd=self.folder)
        self.assertIn("text-to-text/chat", listed.stdout)
        read = subprocess.run([prefix / "bin/morph", "explain", SOURCE / "assets/samples/scan.png"], text=True,
                              capture_output=True, env=outside, check=False, cwd=self.folder)
        self.assertNotIn("the module was not found", read.stderr)
        if not (models_folder() / MODEL / "morph.json").exists():
            print(f"SKIPPED two chats of an installed library: {MODEL} is not fetched", file=sys.stderr)
            return
        answers = subprocess.run([build / "consumer", MODEL, "What is the capital of France?", "Say hello."], text=True,
                                 capture_output=True, env=outside, check=False, cwd=self.folder, timeout=600)
        self.assertEqual(answers.returncode, 0, answers.stderr)
        self.assertIn("Paris", answers.stdout)
        self.assertGreaterEqual(len(answers.stdout.strip().splitlines()), 2)
        broken = subprocess.run([build / "consumer", "no-such-model", "a", "b"], text=True, capture_output=True, env=outside,
                                check=False, cwd=self.folder, timeout=600)
        self.assertNotIn(broken.returncode, (0, 70), broken.stderr)

    def test_as_a_subfolder(self):
        build = self.folder / "build"
        call("cmake", "-G", "Ninja", "-S", SOURCE / "tests/consumer", "-B", build, f"-DMORPH_AS_SUBDIRECTORY={SOURCE}",
             *OPTIONS)
        # The consumer's own part: that the library builds is what every other test stands on.
        call("ninja", "-C", build, "CMakeFiles/consumer.dir/main.cpp.o")
        plan = (build / "build.ninja").read_text()
        self.assertRegex(plan, r"build consumer: .*libmorph\.so")
        self.assertNotIn("morph_tests", plan)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
