# Language level, warnings, sanitizers and the compiler cache, for every target of the project.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set_property(GLOBAL PROPERTY USE_FOLDERS ON)

add_library(morph_options INTERFACE)
target_compile_features(morph_options INTERFACE cxx_std_20)
target_compile_options(morph_options INTERFACE -Wall -Wextra -Werror=return-type)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 gives these at -O3 for sound code inside the standard library (string and vector; GCC bugs 105329, 105651).
  target_compile_options(morph_options INTERFACE -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread
                         -Wno-array-bounds)
endif()
if(MORPH_WERROR)
  target_compile_options(morph_options INTERFACE -Werror)
endif()
if(MORPH_SANITIZE)
  target_compile_options(morph_options INTERFACE -fsanitize=${MORPH_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(morph_options INTERFACE -fsanitize=${MORPH_SANITIZE})
endif()
if(MORPH_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "MORPH_FUZZ needs clang, found ${CMAKE_CXX_COMPILER_ID}; configure with -DCMAKE_CXX_COMPILER=clang++")
  endif()
  target_compile_options(morph_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(MORPH_CCACHE ccache)
mark_as_advanced(MORPH_CCACHE)
if(MORPH_CCACHE)
  # Paths below the checkout are hashed relative to the build folder, so that a fresh clone finds what another built.
  foreach(language C CXX)
    set(CMAKE_${language}_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}
        CCACHE_NOHASHDIR=1 ${MORPH_CCACHE})
  endforeach()
endif()
