# Messages and long commands of the set-up scripts: one progress line per step on stderr, everything a command
# prints goes to a log file, and a failure shows the path of that log with its last lines.
# Sourced by the other scripts here, by `morph` and by `check`; defines functions only.

# say TEXT...: one line on stderr.
say() { printf 'morph: %s\n' "$*" >&2; }

# die TEXT...: one line on stderr, then exit 1.
die() {
  printf 'morph: error: %s\n' "$*" >&2
  exit 1
}

# elapsed SECONDS: "3 min 05 s".
elapsed() {
  if (($1 >= 60)); then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

# ninja_percent LOG: the newest "[ 42%" that ninja (NINJA_STATUS below) wrote, empty before the first step.
ninja_percent() { tail -c 4096 "$1" 2>/dev/null | grep -aoE '^\[ *[0-9]+%' | tail -n 1 | tr -d '[ ' || true; }

# show_failure LOG LINE: what of LOG after LINE tells why: ninja's FAILED blocks, else the end.
show_failure() {
  local blocks
  blocks=$(tail -n "+$2" "$1" | grep -aE -A 12 '^FAILED: ' | cut -c 1-400 | head -n 60) || true
  if [[ -n $blocks ]]; then printf '%s\n' "$blocks"; else tail -n "+$2" "$1" | tail -n 25; fi
}

# run_logged TITLE LOG COMMAND...: runs COMMAND with its output appended to LOG. On a terminal the line TITLE is
# rewritten each second with percentage and time; elsewhere it is repeated about every 30 s. Returns COMMAND's status.
run_logged() {
  local title=$1 log=$2 start=$SECONDS last=0 pid status=0 percent='' pause=0.02 first
  shift 2
  mkdir -p "$(dirname "$log")"
  printf '\n== %s\n== %s\n' "$title" "$*" >>"$log"
  first=$(wc -l <"$log")
  NINJA_STATUS='[%p %f/%t] ' "$@" >>"$log" 2>&1 </dev/null &
  pid=$!
  # A background process of a script does not get Ctrl-C; hand it on.
  trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    if [[ -t 2 ]]; then
      percent=$(ninja_percent "$log")
      printf '\rmorph: %s %s (%s)\033[K' "$title" "$percent" "$(elapsed $((SECONDS - start)))" >&2
    elif ((SECONDS - start - last >= 30)); then
      last=$((SECONDS - start))
      percent=$(ninja_percent "$log")
      say "$title $percent ($(elapsed $last))"
    fi
    sleep "$pause"
    ((SECONDS > start)) && pause=0.2
  done
  wait "$pid" || status=$?
  trap - INT TERM
  [[ -t 2 ]] && printf '\r\033[K' >&2
  if ((status != 0)); then
    say "$title: failed with status $status; from $log:"
    show_failure "$log" "$first" >&2
  elif ((SECONDS - start >= 2)); then
    say "$title: done in $(elapsed $((SECONDS - start)))"
  fi
  return "$status"
}
