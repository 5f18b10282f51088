#!/usr/bin/env bash
# Unpacks the pinned OpenVINO wheel (headers, libraries, device plugins and CMake files are in it; its Python part is
# left out) into the cache, for whole ONNX stages on CPU, Intel GPU and Intel NPU.
#
#   openvino.sh              unpack if missing, print the folder that holds include/ libs/ cmake/
#   openvino.sh --print-dir  print the folder only (exit 3 when it is not there yet)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup/progress.sh
source "$here/progress.sh"
# shellcheck source=setup/cache.sh
source "$here/cache.sh"

version=2026.4.1
case $(uname -m) in
  x86_64 | amd64)
    platform=manylinux_2_28_x86_64
    wheel_sum=2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf
    ;;
  aarch64 | arm64)
    platform=manylinux_2_35_aarch64
    wheel_sum=bea1eb3733c34ef331adc945da0ccda5937865031139073663be84c517ffda22
    ;;
  *) die "openvino.sh: no OpenVINO package for $(uname -m); x86_64 and aarch64 have one" ;;
esac
root=$(cache_root)/openvino
# Its CMake files look for ../openvino/libs and ../openvino/include, so the last part has to be called openvino.
folder=$root/$version-${wheel_sum:0:12}/openvino

unpack_wheel() {
  [[ -f $folder/complete ]] && return 0
  local work=$root/.unpack-$version wheel
  rm -rf "$work" "$folder"
  mkdir -p "$work"
  # The libraries do not depend on the Python version; one wheel is pinned whatever Python is installed.
  wheel=$(fetch_package "$work/download" "openvino==$version" "$wheel_sum" --only-binary :all: --implementation cp \
    --python-version 3.11 --abi cp311 --platform "$platform") || return 1
  python3 - "$wheel" "$work/tree" <<'PYTHON' || return 1
import pathlib, sys, zipfile
wheel, target = sys.argv[1], pathlib.Path(sys.argv[2])
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        parts = name.split("/")
        if parts[0] == "openvino" and len(parts) > 2 and parts[1] in ("include", "libs", "cmake"):
            path = target.joinpath(*parts[1:])
        elif "licenses" in parts and parts[0].endswith(".dist-info"):
            path = target.joinpath("licenses", parts[-1])
        else:
            continue
        if not name.endswith("/"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
PYTHON
  [[ -f $work/tree/cmake/OpenVINOConfig.cmake && -d $work/tree/include/openvino ]] ||
    die "openvino==$version: expected include/openvino and cmake/OpenVINOConfig.cmake in the wheel, found neither or one"
  touch "$work/tree/complete"
  mkdir -p "$(dirname "$folder")"
  mv "$work/tree" "$folder"
  rm -rf "$work"
}

case ${1:-} in
  '') [[ -f $folder/complete ]] || with_lock "$root/lock" unpack_wheel ;;
  --print-dir) ;;
  -h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  *) die "openvino.sh: unknown option '$1' (see --help)" ;;
esac
printf '%s\n' "$folder"
[[ -f $folder/complete ]] || exit 3
