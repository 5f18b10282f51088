#!/usr/bin/env python3
"""Checks what DESIGN sections 1, 5 and 6 say about the tree, without building it.

  edges   who may #include whom: the engine knows no modality and its floors only look down (engine/README.md); a modality
          knows no other but the public headers of text and backbone, the floor below them; ui/ and python/ see public
          headers only; public headers include the standard library only; codecs stay in io/ and modules/, libllama in
          modalities/backbone
  files   snake_case names, no catch-all names, an opening comment, length of files and functions
  format  clang-format finds nothing to change

Usage: check_structure.py CHECK [ROOT]. Prints one line per finding (path:line: message) and exits 1 when there is one.
A file or function that is longer than the limit for a reason says so in a comment that starts with "Long:".
"""

import pathlib
import re
import shutil
import subprocess
import sys

SOURCE_FOLDERS = ("engine", "modalities", "ui", "python", "tests")
SUFFIXES = (".cpp", ".h")
FORBIDDEN_WORDS = {"util", "utils", "common", "misc", "manager", "managers", "helper", "helpers"}
MAX_SOURCE_LINES, MAX_HEADER_LINES, MAX_FUNCTION_LINES = 800, 300, 100
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

# The floors of engine/, lowest first: a folder may include those before its own and itself. Folders in one tuple stand
# side by side and do not see each other. engine/include belongs to all of them; engine/testing is above all.
ENGINE_FLOORS = (("base",), ("registry",), ("tensor", "delegates"), ("graph",), ("exec",), ("host",), ("testing",))
# Modalities whose public headers the other ones may use.
FLOOR_MODALITIES = ("text", "backbone")

# Library headers and the only folders that may include them.
LIBRARY_HOMES = (
    (re.compile(r"^opencv2/(core|imgproc)"), re.compile(r"^modalities/(image|video)/|^tests/")),
    (re.compile(r"^(opencv2/(?!core|imgproc)|libav|libsw|sndfile)"),
     re.compile(r"^modalities/[^/]+/(codecs|io|modules)/|^tests/")),
    (re.compile(r"^(llama|mtmd)[-\w]*\.h$"), re.compile(r"^modalities/backbone/|^tests/modalities/backbone/")),
    (re.compile(r"^openvino/"), re.compile(r"^engine/delegates/openvino/|^tests/engine/")),
)


def source_files(root):
    """Every C++ file of the project, as sorted paths relative to root."""
    found = []
    for folder in SOURCE_FOLDERS:
        found += [p.relative_to(root) for p in (root / folder).rglob("*") if p.suffix in SUFFIXES and p.is_file()]
    return sorted(found)


def owner(path):
    """Which part of the tree a file belongs to: 'engine', 'engine-public', 'text', 'text-public', 'ui', 'python', 'tests'."""
    parts = path.parts
    if parts[0] == "engine":
        return "engine-public" if parts[1] == "include" else "engine"
    if parts[0] == "modalities":
        return parts[1] + ("-public" if parts[2] == "include" else "")
    return parts[0]


def resolve(root, path, name):
    """The project file that `#include "name"` in path means, relative to root, or None for a library's header."""
    roots = [path.parent]
    if path.parts[0] in ("modalities", "ui", "python"):
        roots.append(pathlib.Path(*path.parts[:2]))
    if path.parts[0] == "tests" and len(path.parts) > 3 and path.parts[1] == "modalities":
        roots.append(pathlib.Path("modalities", path.parts[2]))
    roots += [pathlib.Path("engine/include"), pathlib.Path("engine"), pathlib.Path("tests")]
    roots += sorted(p.relative_to(root) for p in root.glob("modalities/*/include"))
    for folder in roots:
        candidate = root / folder / name
        if candidate.is_file():
            return candidate.resolve().relative_to(root.resolve())
    return None


def floor(path):
    """The floor of a file below engine/, or None for public headers and what is not of the engine."""
    if path.parts[0] != "engine":
        return None
    return next((i for i, names in enumerate(ENGINE_FLOORS) if path.parts[1] in names), None)


def floor_fault(path, target):
    """Why engine file `path` may not include engine file `target` because of the floors, or None."""
    own, other = floor(path), floor(target)
    if own is None or other is None or path.parts[1] == target.parts[1] or other < own:
        return None
    return f"engine/{path.parts[1]} may use what is below it only, {target.parts[1]} is not"


def edge_fault(source, target):
    """Why a file of `source` may not include one of `target` (both as owner() says), or None."""
    if source == "tests":
        return None
    if target == "tests":
        return "only tests may include a test's header"
    source_part = source.removesuffix("-public")
    target_public, target_part = target.endswith("-public"), target.removesuffix("-public")
    if source.endswith("-public") and not target_public:
        return "a public header includes public headers only"
    if source_part == "engine":
        return None if target_part == "engine" else f"the engine must not know {target_part}"
    if source_part in ("ui", "python"):
        if target_public or target_part == source_part:
            return None
        return f"{source_part}/ sees public headers only, this one is internal to {target_part}"
    if target_part in ("ui", "python"):
        return f"a modality must not know {target_part}/"
    if target_part in ("engine", source_part):
        return None
    if target_part not in FLOOR_MODALITIES:
        return f"{source_part} must not know {target_part}"
    return None if target_public else f"{source_part} may include the public headers of {target_part} and nothing else of it"


def check_edges(root):
    for path in source_files(root):
        source = owner(path)
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            name = match[2]
            target = resolve(root, path, name) if match[1] == '"' or name.startswith("morph/") else None
            if target is not None:
                fault = edge_fault(source, owner(target)) or floor_fault(path, target)
            elif source.endswith("-public") and ("." in name or "/" in name):
                fault = "a public header includes no third-party header"
            else:
                fault = next((f"this library is confined to {home.pattern}" for header, home in LIBRARY_HOMES
                              if header.match(name) and not home.match(path.as_posix())), None)
            if fault:
                yield f"{path}:{number}: {name}: {fault}"


def long_functions(lines):
    """(first line, length) of each function over the limit. Reads the layout that clang-format gives: a body opens on
    a line that ends in '{' and closes with '}' in the column where its first line began."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None:
            if line.endswith("{") and not line.startswith((" ", "}", "/")) and "(" in line:
                if not re.match(r"(namespace|class|struct|enum|union|extern)\b", line):
                    start = number
        elif line.startswith("}"):
            length = number - start + 1
            body = "\n".join(lines[start - 1:number])
            if length > MAX_FUNCTION_LINES and "Long:" not in body:
                yield start, length
            start = None


def check_files(root):
    for path in source_files(root):
        lines = (root / path).read_text(encoding="utf-8").splitlines()
        stem = path.stem
        if not re.fullmatch(r"_?[a-z0-9]+(_[a-z0-9]+)*", stem):
            yield f"{path}:1: file names are snake_case"
        words = set(stem.split("_")) & FORBIDDEN_WORDS
        if words:
            yield f"{path}:1: '{words.pop()}' says nothing; name what the file is about"
        if not lines or not lines[0].startswith(("//", "/*")):
            yield f"{path}:1: expected an opening comment that says what the file is and why"
        limit = MAX_HEADER_LINES if path.suffix == ".h" else MAX_SOURCE_LINES
        if len(lines) > limit and "Long:" not in "\n".join(lines[:20]):
            yield f"{path}:1: {len(lines)} lines, the limit is {limit}; split it or say why not (a comment 'Long: ...')"
        for number, length in long_functions(lines):
            yield f"{path}:{number}: function of {length} lines, the limit is {MAX_FUNCTION_LINES}; split it"


def check_format(root):
    tool = shutil.which("clang-format")
    if tool is None:
        yield "clang-format: not installed (apt package clang-format)"
        return
    files = [str(root / p) for p in source_files(root)]
    if not files:
        return
    done = subprocess.run([tool, "--dry-run", "-Werror", "--style=file", *files], capture_output=True, text=True, cwd=root)
    if done.returncode != 0:
        seen = set()
        for line in done.stderr.splitlines():
            match = re.match(r"(.*?):(\d+):\d+: error: (.*)", line)
            if match and match[1] not in seen:
                seen.add(match[1])
                yield f"{match[1]}:{match[2]}: not formatted; run clang-format -i {match[1]}"
        if not seen:
            yield f"clang-format failed: {done.stderr.strip()}"


CHECKS = {"edges": check_edges, "files": check_files, "format": check_format}


def main(arguments):
    if not arguments or arguments[0] not in CHECKS:
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(arguments[1]) if len(arguments) > 1 else pathlib.Path(__file__).resolve().parents[2]
    findings = list(CHECKS[arguments[0]](root))
    for finding in findings:
        print(finding)
    if not findings:
        print(f"{arguments[0]}: {len(source_files(root))} files, nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
