"""The set-up scripts: where the cache is, what running needs, and that a source which is not the expected one ends the build."""
import pathlib
import subprocess
import sys
import unittest

SETUP = pathlib.Path(__file__).parents[2] / "setup"
sys.path.insert(0, str(SETUP / "substrate"))
import adapt  # noqa: E402


def bash(script, **environment):
    done = subprocess.run(["bash", "-c", f"source {SETUP}/progress.sh; source {SETUP}/cache.sh; source {SETUP}/install.sh; {script}"],
                          capture_output=True, text=True, cwd="/", env={"PATH": "/usr/bin:/bin", "HOME": "/h", **environment},
                          check=True)
    return done.stdout.strip()


class Setup(unittest.TestCase):
    def test_the_cache_is_an_absolute_folder(self):
        self.assertEqual(bash("cache_root", MORPH_CACHE="mine/cache"), "/mine/cache")
        self.assertEqual(bash("cache_root"), "/h/.cache/morph")

    def test_running_asks_for_no_test_tools(self):
        running = bash(f"listed_packages {SETUP}/apt_packages.txt").split()
        checking = bash(f"listed_packages {SETUP}/apt_packages_tests.txt").split()
        self.assertIn("cmake", running)
        for tool in ("clang", "clang-format", "catch2", "graphviz"):
            self.assertNotIn(tool, running)
            self.assertIn(tool, checking)

    def test_the_sum_is_compared_before_a_package_is_looked_into(self):
        text = (SETUP / "cache.sh").read_text(encoding="utf-8")
        self.assertIn("--require-hashes", text)

    def test_a_source_that_is_another_ends_the_build(self):
        self.assertEqual(adapt.change("a b c", "b", "", 1, "<\0>"), "a <b> c")
        self.assertEqual(adapt.change("a b c d", "b", "c", 1, "x"), "a x d")
        for text in ("a c", "b b"):
            with self.assertRaises(SystemExit):
                adapt.change(text, "b", "", 1, "x")


if __name__ == "__main__":
    unittest.main()
