# Where set-up keeps what it builds and downloads, and how a pinned package is fetched into it.
# Nothing outside the cache is written, and the system's Python is never touched: pip runs in a venv in the cache.
# Sourced; needs progress.sh. Defines functions only.

# cache_root: the cache folder, $MORPH_CACHE if set, as an absolute path (it is compiled into what is built there, and the
# scripts change folders).
cache_root() { realpath -m -s -- "${MORPH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/morph}"; }

# build_jobs: how many compilers run at once (MORPH_JOBS, else the processors this process may use).
build_jobs() { printf '%s' "${MORPH_JOBS:-$(nproc)}"; }

# with_lock FILE COMMAND...: runs COMMAND in a subshell that holds an exclusive lock on FILE, so that two set-ups do not
# race, and returns its status. COMMAND stops at its first error unless with_lock itself is part of a condition.
with_lock() {
  local file=$1
  shift
  mkdir -p "$(dirname "$file")"
  (
    exec 9>"$file"
    if ! flock -n 9; then
      say "waiting for another set-up that holds $file"
      flock 9
    fi
    "$@"
  )
}

# cache_pip: prints the path of a pip inside the cache, made on first use with the system's python3-venv.
cache_pip() {
  local venv
  venv=$(cache_root)/python
  if [[ ! -x $venv/bin/pip ]]; then
    local python=/usr/bin/python3
    [[ -x $python ]] || python=python3
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2 || die "cannot make a Python environment in $venv (is python3-venv installed?)"
  fi
  printf '%s' "$venv/bin/pip"
}

# fetch_package FOLDER REQUIREMENT SHA256 PIP-OPTIONS...: downloads one file of REQUIREMENT (name==version) into the
# empty FOLDER and prints its path. pip compares the sum before it looks into the file: of a source package it runs
# the build script to learn what it needs.
fetch_package() {
  local folder=$1 requirement=$2 sum=$3 pip found log
  shift 3
  pip=$(cache_pip)
  log=$(cache_root)/logs/fetch-${requirement%%==*}.log
  mkdir -p "$folder"
  printf '%s --hash=sha256:%s\n' "$requirement" "$sum" >"$folder.pinned"
  run_logged "download $requirement" "$log" "$pip" download --no-deps --disable-pip-version-check -d "$folder" "$@" \
    --require-hashes -r "$folder.pinned" || return 1
  rm -f "$folder.pinned"
  found=$(find "$folder" -maxdepth 1 -type f | head -n 1)
  [[ -n $found ]] || die "$requirement: pip reported success but left no file in $folder (log: $log)"
  check_sum "$found" "$sum"
  printf '%s' "$found"
}

# check_sum FILE SHA256: stops when FILE is not the pinned one.
check_sum() {
  local actual
  actual=$(sha256sum "$1" | cut -d ' ' -f 1)
  [[ $actual == "$2" ]] || die "$(basename "$1"): expected sha256 $2, found $actual; remove it and try again"
}
