# Configures and builds a preset into build/<preset>, with the substrate and OpenVINO that setup made.
# Sourced by `morph` and `check`; needs progress.sh, cache.sh and install.sh. Defines functions only.

# prepare ROOT [LISTS...]: packages (those of further lists too), tensor substrate and OpenVINO; sets MORPH_PREFIX_FOUND and MORPH_OPENVINO_FOUND.
# Where everything is there already this takes a few hundredths of a second.
prepare() {
  ensure_packages "$1/setup/apt_packages.txt" "${@:2}"
  MORPH_PREFIX_FOUND=$("$1/setup/substrate.sh") || die 'the tensor substrate is not set up'
  MORPH_OPENVINO_FOUND=$("$1/setup/openvino.sh") || die 'OpenVINO is not set up'
}

# ensure_starter_pack ROOT [NAMES...]: the small weights that make the first command work, and what else is named
# (skipped with MORPH_NO_PULL=1, and where MORPH_MODELS names a folder of models that somebody chose: a pack that was
# not asked for is not put there; `morph pull starter` does).
ensure_starter_pack() {
  local python=/usr/bin/python3 root=$1 wanted=(--ensure)
  shift
  (($# == 0)) || wanted=(--only starter "$@")
  [[ ${MORPH_NO_PULL:-0} != 1 && -z ${MORPH_MODELS:-} && -f $root/assets/starter/fetch.py ]] || return 0
  [[ -x $python ]] || python=python3
  "$python" "$root/assets/starter/fetch.py" "${wanted[@]}" >&2
}

# build_preset ROOT PRESET NAME TARGETS [CMAKE OPTIONS...]: builds into build/NAME; TARGETS is one word list, '' for
# everything. Configures only when there is no build folder yet or the options changed.
build_preset() {
  local root=$1 preset=$2 folder=$1/build/$3 targets=$4 wanted
  shift 4
  local options=("-DMORPH_SUBSTRATE_PREFIX=$MORPH_PREFIX_FOUND" "-DMORPH_OPENVINO_DIR=$MORPH_OPENVINO_FOUND"
    "-DMORPH_GOLDEN_DIR=${MORPH_GOLDEN_DIR:-}" "$@")
  local log=$folder/build.log
  wanted=${options[*]}
  mkdir -p "$folder"
  if [[ ! -f $folder/build.ninja || $(cat "$folder/options" 2>/dev/null) != "$wanted" ]]; then
    run_logged "configure ($preset)" "$log" cmake -S "$root" -B "$folder" --preset "$preset" "${options[@]}" || return 1
    printf '%s' "$wanted" >"$folder/options"
  fi
  # shellcheck disable=SC2086
  run_logged "build ($preset)" "$log" ninja -C "$folder" -j "$(build_jobs)" $targets
}
