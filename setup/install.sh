# Installs the Debian packages of apt_packages.txt that are missing. With root or passwordless sudo it installs them;
# otherwise it prints the one line to run and stops. Sourced by `morph` and `check`; needs progress.sh and cache.sh.

# listed_packages FILE: the names in FILE, without comments.
listed_packages() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1" | awk '{print $1}'; }

# missing_packages FILE: the names in FILE that are not installed.
missing_packages() {
  comm -23 <(listed_packages "$1" | sort -u) \
    <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

# ensure_packages LISTS...: fast when nothing is missing; where there is no apt, tools are trusted to be there.
ensure_packages() {
  local missing prefix=() log
  command -v dpkg-query >/dev/null || return 0
  missing=$(for list in "$@"; do missing_packages "$list"; done | sort -u | tr '\n' ' ')
  [[ -n ${missing// /} ]] || return 0
  if [[ $(id -u) == 0 ]]; then
    prefix=()
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    prefix=(sudo -n)
  else
    die "packages are missing; install them and start again:
  sudo apt-get update && sudo apt-get install --no-install-recommends $missing"
  fi
  log=$(cache_root)/logs/packages.log
  run_logged 'update the package lists' "$log" "${prefix[@]}" apt-get update ||
    say 'the package lists could not be updated; trying with the old ones'
  # shellcheck disable=SC2086
  run_logged "install $(wc -w <<<"$missing") packages" "$log" "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends $missing || die 'packages could not be installed'
}
