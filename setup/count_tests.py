#!/usr/bin/env python3
"""Sums up a CTest run: prints "PASSED FAILED" from the JUnit file that `ctest --output-junit` wrote.

A CTest entry of a Catch2 program stands for many test cases, so its own closing line is counted; any other entry counts
as one. An entry that failed without such a line (a crash, a time-out, a program that was not built) is one failure.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

ALL_PASSED = re.compile(r"All tests passed \(.* in (\d+) test cases?\)")
SOME_FAILED = re.compile(r"^test cases:\s*\d+(.*)$", re.MULTILINE)


def count_entry(output, succeeded):
    """(passed, failed) of one CTest entry."""
    match = ALL_PASSED.search(output)
    if match and succeeded:
        return int(match[1]), 0
    match = SOME_FAILED.search(output)
    if match:
        numbers = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed)\b(?! as)", match[1])}
        return numbers.get("passed", 0), max(numbers.get("failed", 0), 0 if succeeded else 1)
    if succeeded and ("No tests ran" in output or "No test cases matched" in output):
        return 0, 0
    return (1, 0) if succeeded else (0, 1)


def main(path):
    passed = failed = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        more_passed, more_failed = count_entry(case.findtext("system-out") or "", case.get("status") == "run")
        passed, failed = passed + more_passed, failed + more_failed
    print(passed, failed)


if __name__ == "__main__":
    main(sys.argv[1])
