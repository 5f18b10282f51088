#!/usr/bin/env python3
"""Tests of setup/count_tests.py: what ./check makes of the closing lines of Catch2 and unittest programs."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "setup"))
from count_tests import count_entry  # noqa: E402


class CountTest(unittest.TestCase):
    def test_catch(self):
        self.assertEqual(count_entry("All tests passed (35 assertions in 6 test cases)", True), (6, 0, 0))
        self.assertEqual(count_entry("test cases: 7 | 5 passed | 2 failed\nassertions: 9 | 7 passed | 2 failed", False),
                         (5, 2, 0))
        self.assertEqual(count_entry("No tests ran", True), (0, 0, 0))

    def test_catch_cases_that_say_what_they_skip(self):
        output = ("SKIPPED a voice: kokoro is not fetched\nSKIPPED a voice: joe is not fetched\nSKIPPED another: no set\n"
                  "All tests passed (1 assertion in 3 test cases)")
        self.assertEqual(count_entry(output, True), (1, 0, 2))

    def test_unittest(self):
        self.assertEqual(count_entry("Ran 8 tests in 38.5s\n\nOK\n", True), (8, 0, 0))
        self.assertEqual(count_entry("Ran 8 tests in 1.0s\n\nOK (skipped=3)\n", True), (5, 0, 3))
        self.assertEqual(count_entry("Ran 8 tests in 1.0s\n\nFAILED (failures=1, errors=1, skipped=1)\n", False), (5, 2, 1))

    def test_a_crash_is_one_failure(self):
        self.assertEqual(count_entry("", False), (0, 1, 0))
        self.assertEqual(count_entry("All tests passed (1 assertion in 1 test case)", False), (0, 1, 0))
        self.assertEqual(count_entry("", True), (1, 0, 0))


if __name__ == "__main__":
    unittest.main()
