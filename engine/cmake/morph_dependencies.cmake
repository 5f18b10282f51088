# Finds every library the project stands on: Debian's by their CMake or pkg-config files, the tensor substrate and
# OpenVINO in the cache folders that setup/ makes (MORPH_SUBSTRATE_PREFIX, MORPH_OPENVINO_DIR).

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(CURL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc i18n)

# morph_pkg_target(NAME MODULES...): morph::NAME from pkg-config modules.
function(morph_pkg_target name)
  pkg_check_modules(morph_${name} REQUIRED IMPORTED_TARGET ${ARGN})
  add_library(morph::${name} ALIAS PkgConfig::morph_${name})
endfunction()
morph_pkg_target(sndfile sndfile)
morph_pkg_target(soxr soxr)
morph_pkg_target(ffmpeg libavformat libavcodec libswresample libavutil)

# Debian's parts of OpenCV come without CMake files (those need all of OpenCV installed).
find_path(MORPH_OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
add_library(morph_opencv INTERFACE)
target_include_directories(morph_opencv SYSTEM INTERFACE "${MORPH_OPENCV_INCLUDE}")
foreach(part imgproc core)
  find_library(MORPH_OPENCV_${part} opencv_${part} REQUIRED)
endforeach()
target_link_libraries(morph_opencv INTERFACE "${MORPH_OPENCV_imgproc}" "${MORPH_OPENCV_core}")
add_library(morph::opencv ALIAS morph_opencv)
# Image files: linked by a module only, since what they bring with them is slow to load.
find_package(OpenImageIO REQUIRED)
pkg_check_modules(morph_jxl REQUIRED IMPORTED_TARGET libjxl)
add_library(morph_image_codec_libraries INTERFACE)
target_link_libraries(morph_image_codec_libraries INTERFACE OpenImageIO::OpenImageIO PkgConfig::morph_jxl)
add_library(morph::image_codec_libraries ALIAS morph_image_codec_libraries)

# morph_ask_setup(VARIABLE TITLE SCRIPT ARGUMENTS...): what a set-up script prints, when VARIABLE was not given.
function(morph_ask_setup variable title script)
  if(${variable})
    return()
  endif()
  execute_process(COMMAND "${PROJECT_SOURCE_DIR}/setup/${script}" ${ARGN} OUTPUT_VARIABLE answer
                  OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(FILTER ARGN EXCLUDE REGEX "^--print")
    list(JOIN ARGN " " options)
    message(FATAL_ERROR "${title} is not set up (expected ${answer}): run `setup/${script} ${options}`, or pass -D${variable}=FOLDER")
  endif()
  set(${variable} "${answer}" PARENT_SCOPE)
endfunction()

if(MORPH_SUBSTRATE_FLAVOUR STREQUAL "cuda")
  set(morph_flavour_option --cuda)
endif()
morph_ask_setup(MORPH_SUBSTRATE_PREFIX "The tensor substrate" substrate.sh ${morph_flavour_option} --print-prefix)
morph_ask_setup(MORPH_OPENVINO_DIR "OpenVINO" openvino.sh --print-dir)
message(STATUS "Tensor substrate: ${MORPH_SUBSTRATE_PREFIX}")
message(STATUS "OpenVINO: ${MORPH_OPENVINO_DIR}")

# morph_substrate_target(NAME LIBRARY LINK...): one shared library of the substrate as an imported target.
function(morph_substrate_target name library)
  set(file "${MORPH_SUBSTRATE_PREFIX}/lib/lib${library}.so")
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "MORPH_SUBSTRATE_PREFIX: expected ${file}, which does not exist; run setup/substrate.sh")
  endif()
  add_library(${name} SHARED IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${file}")
  target_include_directories(${name} SYSTEM INTERFACE "${MORPH_SUBSTRATE_PREFIX}/include")
  target_link_libraries(${name} INTERFACE ${ARGN})
endfunction()
morph_substrate_target(ggml::ggml-base ggml-base)
morph_substrate_target(ggml::ggml ggml ggml::ggml-base)
morph_substrate_target(llama::llama llama ggml::ggml)
morph_substrate_target(llama::mtmd mtmd llama::llama)
morph_substrate_target(llama::llama-common llama-common llama::llama)
# Internal headers with the nlohmann version they were built with; first, so that Debian's is not taken by accident.
target_include_directories(llama::llama-common SYSTEM BEFORE INTERFACE
                           "${MORPH_SUBSTRATE_PREFIX}/include/llama-common")

find_package(OpenVINO REQUIRED CONFIG PATHS "${MORPH_OPENVINO_DIR}/cmake" NO_DEFAULT_PATH COMPONENTS Runtime)
