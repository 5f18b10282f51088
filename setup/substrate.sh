#!/usr/bin/env bash
# Builds the tensor substrate (ggml, libllama, llama-common, libmtmd, ggml-rpc-server) from a pinned source package into
# a prefix in the cache, once per version and recipe. CPU kernels and devices are modules that are chosen when the
# program runs (GGML_BACKEND_DL), so one prefix serves every machine of an architecture. setup/substrate/adapt.py changes
# a few lines of the source; llama-bench, which the benchmark compares with, stays as published (<prefix>/published).
#
#   substrate.sh                 build if missing, print the prefix
#   substrate.sh --print-prefix  print the prefix only (exit 3 when it is not built yet)
#   --cuda                       with the CUDA module as well (needs nvcc)
#   --configure-only             configure the source in a scratch folder and stop (proves the options)
#
# MORPH_SUBSTRATE_VARIANTS overrides the list of CPU modules, MORPH_CUDA_ARCHITECTURES the CUDA ones.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup/progress.sh
source "$here/progress.sh"
# shellcheck source=setup/cache.sh
source "$here/cache.sh"

version=0.3.36
source_sum=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
source_commit=0c1e570

flavour=cpu
action=build
for argument in "$@"; do
  case $argument in
    --cuda) flavour=cuda ;;
    --print-prefix) action=print ;;
    --configure-only) action=configure ;;
    -h | --help)
      sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) die "substrate.sh: unknown option '$argument' (see --help)" ;;
  esac
done

# Which CPU modules are built: of fourteen for x86 those that cover every machine with at most one step lost, for ARM
# those that GCC 12 can compile (the rest need SME).
case $(uname -m) in
  x86_64 | amd64) variants='x64 haswell alderlake skylakex icelake zen4 sapphirerapids' ;;
  aarch64 | arm64) variants='armv8.0_1 armv8.2_1 armv8.2_2 armv8.2_3 armv8.6_1 armv8.6_2' ;;
  *) variants=all ;;
esac
variants=${MORPH_SUBSTRATE_VARIANTS:-$variants}

# The options that decide what is in the prefix. OpenMP is off: the engine owns the one thread pool.
options=(
  -DCMAKE_BUILD_TYPE=Release
  -DCMAKE_INSTALL_LIBDIR=lib
  '-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/..;$ORIGIN/../lib'
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON
  -DBUILD_SHARED_LIBS=ON
  -DGGML_BACKEND_DL=ON
  -DGGML_CPU_ALL_VARIANTS=ON
  -DGGML_NATIVE=OFF
  -DGGML_OPENMP=OFF
  -DGGML_RPC=ON
  -DGGML_RPC_RDMA=OFF
  -DLLAMA_BUILD_NUMBER=1
  "-DLLAMA_BUILD_COMMIT=$source_commit"
  -DLLAMA_BUILD_COMMON=ON
  -DLLAMA_BUILD_TOOLS=ON
  -DLLAMA_BUILD_MTMD=ON
  -DLLAMA_BUILD_TESTS=OFF
  -DLLAMA_BUILD_EXAMPLES=OFF
  -DLLAMA_BUILD_SERVER=OFF
  -DLLAMA_BUILD_APP=OFF
  -DLLAMA_USE_PREBUILT_UI=OFF
  -DLLAMA_TOOLS_INSTALL=OFF
  -DLLAMA_OPENSSL=OFF
  -DLLAMA_SUBPROCESS=OFF
)
if [[ $flavour == cuda ]]; then
  options+=(-DGGML_CUDA=ON -DGGML_CUDA_NCCL=OFF "-DCMAKE_CUDA_ARCHITECTURES=${MORPH_CUDA_ARCHITECTURES:-80-virtual;86-real;89-real;90-real}")
fi

if [[ $flavour == cuda && -z ${CUDACXX:-} && -x /usr/local/cuda/bin/nvcc ]] && ! command -v nvcc >/dev/null; then
  export CUDACXX=/usr/local/cuda/bin/nvcc
fi

# unpack_source FOLDER: downloads the pinned package and leaves its llama.cpp tree in FOLDER, with the CPU modules that
# are not in $variants taken out of its build files, the module folder compiled into libggml only (as published it would
# be in the command line of every file that includes ggml.h, and no compiler cache could serve another prefix), and our
# changes to how threads wait and how a lost remote device is told.
unpack_source() {
  local folder=$1 archive list
  archive=$(fetch_package "$folder.download" "llama-cpp-python==$version" "$source_sum" --no-binary llama-cpp-python)
  mkdir -p "$folder"
  tar -xzf "$archive" -C "$folder" --strip-components=3 --exclude='*/.git' --wildcards '*/vendor/llama.cpp/*'
  rm -rf "$folder.download"
  list=$folder/ggml/src/CMakeLists.txt
  sed -i 's/target_compile_definitions(ggml PUBLIC GGML_BACKEND_DIR=/target_compile_definitions(ggml PRIVATE GGML_BACKEND_DIR=/' "$list"
  python3 "$here/substrate/adapt.py" "$folder" "$here/substrate" || die 'the source is not the one that our changes were made for'
  if [[ $variants != all ]]; then
    sed -i -E "/^if \(GGML_CPU_ALL_VARIANTS\)/,/^elseif \(GGML_CPU\)/{/ggml_add_cpu_backend_variant\((${variants// /|})[ )]/!s/^( *)ggml_add_cpu_backend_variant\(.*/\1# left out/}" "$list"
  fi
}

# install_extras SOURCE BUILD PREFIX: what the project needs and `cmake --install` leaves out.
install_extras() {
  local source=$1 build=$2 prefix=$3 private=$3/include/llama-common
  cp "$source/ggml/src/ggml-backend-impl.h" "$source/src/llama-ext.h" "$prefix/include/"
  mkdir -p "$private" "$prefix/bin" "$prefix/share/licenses"
  (cd "$source/common" && find . \( -name '*.h' -o -name '*.hpp' \) -exec cp --parents -t "$private" {} +)
  (cd "$source/vendor" && cp -r --parents -t "$private" nlohmann/json.hpp nlohmann/json_fwd.hpp)
  cp -P "$build"/bin/ggml-rpc-server "$prefix/bin/"
  cp "$source/LICENSE" "$prefix/share/licenses/llama.cpp"
}

# install_published SOURCE BUILD PREFIX: llama-bench with the CPU modules as they are published, in PREFIX/published: what
# adapt.py changed in the CPU module is put back and compiled again; the other libraries are the same files.
install_published() {
  local source=$1 build=$2 prefix=$3 place=$3/published
  mkdir -p "$place/bin" "$place/lib/ggml-backends"
  python3 "$here/substrate/adapt.py" --published "$source"
  cmake -S "$source" -B "$build" -DGGML_BACKEND_DIR="${prefix#"$work/stage"}/published/lib/ggml-backends" || return 1
  ninja -C "$build" -j "$(build_jobs)" ggml llama-bench || return 1
  cp -P "$build"/bin/libggml.so* "$place/lib/"
  cp -P "$build"/bin/llama-bench "$build"/bin/libllama-bench-impl.so* "$place/bin/"
  cp "$build"/bin/libggml-cpu*.so "$place/lib/ggml-backends/"
  cp -P --link "$prefix"/lib/lib{ggml-base,llama,llama-common,mtmd}.so* "$place/lib/"
  printf '#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/../published/bin/llama-bench" "$@"\n' >"$prefix/bin/llama-bench"
  chmod +x "$prefix/bin/llama-bench"
}

targets=(ggml llama llama-common mtmd llama-bench ggml-rpc-server)
root=$(cache_root)/substrate

# The folder is part of the recipe: it is compiled into the libraries.
recipe() {
  printf '%s\n' "$version" "$source_sum" "$flavour" "$variants" "$root" "${options[@]}" "${targets[@]}"
  declare -f unpack_source install_extras install_published
  cat "$here"/substrate/*.h "$here"/substrate/adapt.py
}
hash=$(recipe | sha256sum | cut -c 1-12)
name=$version-$hash
prefix=$root/$name
work=$root/.build-$name
log=$(cache_root)/logs/substrate-$name.log

configure_source() {
  run_logged "configure the tensor substrate ($flavour)" "$log" cmake -G Ninja -S "$work/source" -B "$work/build" \
    "${options[@]}" -DCMAKE_INSTALL_PREFIX="$prefix" -DGGML_BACKEND_DIR="$prefix/lib/ggml-backends"
}

# build_prefix: everything, in a working folder beside the prefix, which appears in one rename. The paths compiled into
# the libraries are the final ones.
build_prefix() {
  [[ -f $prefix/complete ]] && return 0
  rm -rf "$work" "$prefix"
  mkdir -p "$work"
  export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
  unpack_source "$work/source"
  configure_source
  run_logged "build the tensor substrate ($flavour, once)" "$log" \
    ninja -C "$work/build" -j "$(build_jobs)" "${targets[@]}"
  DESTDIR=$work/stage run_logged 'install the tensor substrate' "$log" cmake --install "$work/build"
  install_extras "$work/source" "$work/build" "$work/stage$prefix"
  run_logged 'build the benchmark of the published source' "$log" \
    install_published "$work/source" "$work/build" "$work/stage$prefix"
  recipe >"$work/stage$prefix/complete"
  mv "$work/stage$prefix" "$prefix"
  rm -rf "$work"
}

case $action in
  print)
    printf '%s\n' "$prefix"
    [[ -f $prefix/complete ]] || exit 3
    ;;
  configure)
    work=$(mktemp -d "${TMPDIR:-/tmp}/morph-substrate.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    unpack_source "$work/source"
    configure_source
    say "the $flavour substrate configures"
    ;;
  build)
    [[ -f $prefix/complete ]] || with_lock "$root/lock" build_prefix
    [[ -f $prefix/complete ]] || die "the tensor substrate could not be built; see $log"
    printf '%s\n' "$prefix"
    ;;
esac
