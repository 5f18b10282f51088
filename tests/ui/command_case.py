"""What tests of the `morph` program share: running it, and saying how a refusal looks. Standard library only."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BINARY = os.environ.get("MORPH_BINARY", str(SOURCE / "build/release/bin/morph"))
SAMPLES = SOURCE / "assets" / "samples"
# Exit codes by error group: engine/include/morph/error.h.
CONFIG, PIPELINE, FORMAT, WEIGHTS, DEVICE, RESOURCE, CANCELLED = 2, 3, 4, 5, 6, 7, 130
HANG_S = 300  # nothing here takes that long; a command that does is hung


def models_folder():
    """Where the starter pack is, as morph::ModelLocator finds it."""
    if os.environ.get("MORPH_MODELS"):
        return pathlib.Path(os.environ["MORPH_MODELS"].split(":")[0])
    if os.environ.get("MORPH_CACHE"):
        return pathlib.Path(os.environ["MORPH_CACHE"]) / "models"
    if os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "morph" / "models"
    return pathlib.Path(os.environ.get("HOME", "/")) / ".cache" / "morph" / "models"


def needs(*models):
    """Skips, by name, when a model of the starter pack is absent."""
    missing = [model for model in models if not (models_folder() / model / "morph.json").exists()]
    return unittest.skipIf(missing, "not fetched: " + ", ".join(missing))


class CommandCase(unittest.TestCase):
    """A test with a folder of its own, `self.folder`; whatever a command leaves there is seen."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="morph-command-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def morph(self, *arguments, stdin=subprocess.DEVNULL, **environment):
        return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, stdin=stdin,
                              cwd=self.folder, env=dict(os.environ, **environment), timeout=HANG_S, check=False)

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def succeeds(self, *arguments, **environment):
        done = self.morph(*arguments, **environment)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def refused(self, code, texts, *arguments, **environment):
        """The command ends with `code`, says every one of `texts`, prints nothing else and leaves no new file."""
        before = self.files()
        done = self.morph(*arguments, **environment)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        for text in [texts] if isinstance(texts, str) else texts:
            self.assertIn(text.lower(), done.stderr.lower(), arguments)
        self.assertRegex(done.stderr, r"(?m)^(error \(\w+\): |.*--help)", arguments)
        self.assertNotIn("please report", done.stderr, arguments)
        self.assertEqual(done.stdout, "", arguments)
        self.assertEqual(self.files(), before, arguments)
        return done

    def models_with(self, model, changes):
        """A models folder of links in which the files of `model` named in `changes` hold those bytes (None: absent)."""
        root = pathlib.Path(tempfile.mkdtemp(prefix="morph-models-"))
        self.addCleanup(shutil.rmtree, root)
        for folder in models_folder().iterdir():
            if folder.name != model:
                (root / folder.name).symlink_to(folder)
        (root / model).mkdir()
        for file in (models_folder() / model).iterdir():
            if file.name not in changes:
                (root / model / file.name).symlink_to(file)
            elif changes[file.name] is not None:
                (root / model / file.name).write_bytes(changes[file.name])
        return str(root)

    def start(self, *arguments, **options):
        process = subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, cwd=self.folder, **options)
        self.addCleanup(self._end, process)
        return process

    @staticmethod
    def _end(process):
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()

    def interrupt_after(self, seconds, process):
        """SIGINT after that time; what the process answered as (exit code, stderr)."""
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        # Not communicate(): it would close the standard input that is to stay open.
        code = process.wait(timeout=HANG_S)
        return code, process.stderr.read()
