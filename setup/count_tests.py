#!/usr/bin/env python3
"""Sums up a CTest run: prints "PASSED FAILED SKIPPED" from the JUnit file that `ctest --output-junit` wrote, and on stderr what
was skipped and why.

A CTest entry of a Catch2 program or of a Python test stands for many test cases, so its own closing line is counted; any
other entry counts as one. A Catch2 case that printed a line "SKIPPED name: why" (tests/skipped.h) is skipped, not passed.
An entry that failed without a closing line (a crash, a time-out, a program that was not built) is one failure.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

ALL_PASSED = re.compile(r"All tests passed \(.* in (\d+) test cases?\)")
SOME_FAILED = re.compile(r"^test cases:\s*\d+(.*)$", re.MULTILINE)
PYTHON_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
PYTHON_END = re.compile(r"^(OK|FAILED)(?: \((.*)\))?\s*$", re.MULTILINE)
SKIPPED = re.compile(r"^SKIPPED (.*?): (.*)$", re.MULTILINE)


def count_python(output, succeeded):
    """(passed, failed, skipped) of a unittest run, or None when the output is not one's."""
    ran, end = PYTHON_RAN.search(output), PYTHON_END.search(output)
    if not ran or not end:
        return None
    numbers = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", end[2] or "")}
    failed = max(numbers.get("failures", 0) + numbers.get("errors", 0), 0 if succeeded else 1)
    skipped = numbers.get("skipped", 0)
    return max(int(ran[1]) - failed - skipped, 0), failed, skipped


def count_entry(output, succeeded):
    """(passed, failed, skipped) of one CTest entry."""
    skipped = len({name for name, _ in SKIPPED.findall(output)})
    match = ALL_PASSED.search(output)
    if match and succeeded:
        return max(int(match[1]) - skipped, 0), 0, skipped
    match = SOME_FAILED.search(output)
    if match:
        numbers = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed)\b(?! as)", match[1])}
        failed = max(numbers.get("failed", 0), 0 if succeeded else 1)
        return max(numbers.get("passed", 0) - skipped, 0), failed, skipped
    if succeeded and ("No tests ran" in output or "No test cases matched" in output):
        return 0, 0, 0
    return count_python(output, succeeded) or ((1, 0, 0) if succeeded else (0, 1, 0))


def main(path):
    sums = [0, 0, 0]
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        counts = count_entry(output, case.get("status") == "run")
        sums = [a + b for a, b in zip(sums, counts)]
        for name, why in dict(SKIPPED.findall(output)).items():
            print(f"skipped: {case.get('name')}: {name}: {why}", file=sys.stderr)
        if counts[2] and not SKIPPED.search(output):
            print(f"skipped: {case.get('name')}: {counts[2]} of its tests", file=sys.stderr)
    print(*sums)


if __name__ == "__main__":
    main(sys.argv[1])
