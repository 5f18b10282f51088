# Test programs by area, from tests/**/test_*.cpp; fuzz targets; the structure and formatting checks. Each program is
# several CTest entries, one per tag, so that `ctest -L unit` and parallel runs work without starting the programs to
# list their cases.

set(MORPH_GOLDEN_DIR "$ENV{MORPH_GOLDEN_DIR}" CACHE PATH "Folder of parity sets; empty: ../shared/golden beside the checkout")
if(MORPH_GOLDEN_DIR)
  set(morph_golden "${MORPH_GOLDEN_DIR}")
else()
  get_filename_component(morph_golden "${PROJECT_SOURCE_DIR}/../shared/golden" ABSOLUTE)
endif()
set(MORPH_TEST_ENVIRONMENT "MORPH_GOLDEN_DIR=${morph_golden}" "MORPH_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "MORPH_BINARY=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/morph" "MORPH_OWN_GOLDEN_DIR=${PROJECT_BINARY_DIR}/golden")

# Parity sets of our own: tests/golden/make_X.py makes golden/X in the build folder.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB makers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/golden/make_*.py")
set(own_golden "")
foreach(maker IN LISTS makers)
  get_filename_component(set "${maker}" NAME_WE)
  string(REGEX REPLACE "^make_" "" set "${set}")
  add_custom_command(OUTPUT "${PROJECT_BINARY_DIR}/golden/${set}/config.json"
    COMMAND Python3::Interpreter "${maker}" "${PROJECT_BINARY_DIR}/golden/${set}" DEPENDS "${maker}"
    COMMENT "Making the parity set ${set}")
  list(APPEND own_golden "${PROJECT_BINARY_DIR}/golden/${set}/config.json")
endforeach()
add_custom_target(morph_own_golden ALL DEPENDS ${own_golden})

find_package(Catch2 2 REQUIRED)
add_library(morph_catch_main OBJECT "${PROJECT_SOURCE_DIR}/tests/catch_main.cpp")
if(MORPH_SANITIZE MATCHES "address")
  target_sources(morph_catch_main PRIVATE "${PROJECT_SOURCE_DIR}/tests/sanitizers/keep_modules.cpp")
endif()
add_dependencies(morph_catch_main morph_own_golden)
target_link_libraries(morph_catch_main PUBLIC Catch2::Catch2 PRIVATE morph_options)
target_compile_definitions(morph_catch_main PRIVATE "MORPH_DEFAULT_GOLDEN_DIR=\"${morph_golden}\""
  "MORPH_DEFAULT_OWN_GOLDEN_DIR=\"${PROJECT_BINARY_DIR}/golden\""
  "MORPH_DEFAULT_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"" "MORPH_DEFAULT_BINARY=\"${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/morph\"")

# Entries: suffix, Catch2 tag expression, time limit in seconds. `[gpu]` needs a device that CI lacks.
set(MORPH_TEST_ENTRIES
  "unit|[unit]~[slow]~[weights]~[gpu]|300"
  "parity|[parity]~[unit]~[slow]~[weights]~[gpu]|600"
  "other|~[unit]~[parity]~[slow]~[weights]~[gpu]|600"
  "slow|[slow]~[weights]~[gpu]|1200"
  "weights|[weights]~[gpu]|1800")

# morph_add_tests(AREA FOLDER [INCLUDE DIRS] [LINK TARGETS]): program morph_tests_AREA from FOLDER/**/*.cpp.
function(morph_add_tests area folder)
  cmake_parse_arguments(arg "" "" "INCLUDE;LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.cpp")
  if(MORPH_SANITIZE MATCHES "thread")
    # ggml and OpenVINO are not built with the thread sanitizer, which then takes their locks and barriers for faults.
    list(FILTER sources EXCLUDE REGEX "/tests/engine/(tensor|delegates)/")
  endif()
  if(NOT sources)
    return()
  endif()
  set(name morph_tests_${area})
  add_executable(${name} ${sources})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/engine" "${PROJECT_SOURCE_DIR}/tests")
  foreach(include IN LISTS arg_INCLUDE)
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/${include}")
  endforeach()
  morph_existing(link ${arg_LINK})
  target_link_libraries(${name} PRIVATE morph_options morph_engine_headers morph_catch_main ${MORPH_MODALITY_APIS} ${link}
    fmt::fmt nlohmann_json::nlohmann_json Threads::Threads)
  set_property(GLOBAL APPEND PROPERTY MORPH_TEST_PROGRAMS ${name})
  foreach(entry IN LISTS MORPH_TEST_ENTRIES)
    string(REPLACE "|" ";" entry "${entry}")
    list(GET entry 0 tag)
    list(GET entry 1 filter)
    list(GET entry 2 limit)
    add_test(NAME ${area}.${tag} COMMAND ${name} "${filter}")
    set_tests_properties(${area}.${tag} PROPERTIES LABELS "${tag}" TIMEOUT ${limit} ENVIRONMENT "${MORPH_TEST_ENVIRONMENT}")
  endforeach()
endfunction()

morph_add_tests(engine tests/engine LINK morph_testing morph_tensor morph_openvino morph_engine)
foreach(modality IN LISTS MORPH_MODALITIES)
  morph_add_tests(${modality} tests/modalities/${modality} INCLUDE modalities/${modality}
    LINK morph_testing morph_${modality} morph_${modality}_payload ${MORPH_MODALITY_${modality}_LINK})
endforeach()
foreach(area families generic)
  morph_add_tests(${area} tests/${area} LINK morph_testing morph_everything)
endforeach()
morph_add_tests(bench tests/bench/tests LINK morph_bench_parts morph_everything)
morph_add_tests(ui tests/ui INCLUDE ui/command LINK morph_command morph_everything)

# Fuzz targets: libFuzzer programs with clang and MORPH_FUZZ; otherwise each is linked with a small main that runs it over
# its corpus, tests/fuzz/corpus/NAME/, as a CTest entry.
file(GLOB fuzzers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_*.cpp")
foreach(source IN LISTS fuzzers)
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" subject "${name}")
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE morph_options morph_engine_headers ${MORPH_MODALITY_APIS} morph_everything
    fmt::fmt nlohmann_json::nlohmann_json)
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  set(corpus "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${subject}")
  if(MORPH_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME fuzz.${subject} COMMAND ${name} -runs=0 "${corpus}")
  else()
    target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp")
    add_test(NAME fuzz.${subject} COMMAND ${name} "${corpus}")
  endif()
  set_property(GLOBAL APPEND PROPERTY MORPH_TEST_PROGRAMS ${name})
  set_tests_properties(fuzz.${subject} PROPERTIES LABELS "fuzz" TIMEOUT 600)
endforeach()

get_property(programs GLOBAL PROPERTY MORPH_TEST_PROGRAMS)
add_custom_target(morph_tests)
if(programs)
  add_dependencies(morph_tests ${programs})
endif()

add_test(NAME structure.edges COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/structure/check_structure.py" edges)
add_test(NAME structure.files COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/structure/check_structure.py" files)
add_test(NAME structure.format COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/structure/check_structure.py" format)
add_test(NAME structure.self COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/structure/test_check_structure.py")
add_test(NAME structure.counts COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/structure/test_count_tests.py")
add_test(NAME assets.starter COMMAND Python3::Interpreter -m unittest discover -s tests/assets
         WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
set_tests_properties(assets.starter PROPERTIES LABELS "assets" TIMEOUT 300)
set_tests_properties(structure.edges structure.files structure.format structure.self structure.counts PROPERTIES LABELS "structure")

# Tests of the command as a program: tests/ui/test_*.py (standard library only) against the built binary.
file(GLOB command_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/ui/test_*.py")
foreach(script IN LISTS command_tests)
  get_filename_component(name "${script}" NAME_WE)
  string(REGEX REPLACE "^test_" "" subject "${name}")
  add_test(NAME command.${subject} COMMAND Python3::Interpreter "${script}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(command.${subject} PROPERTIES LABELS "command" TIMEOUT 1200 ENVIRONMENT "${MORPH_TEST_ENVIRONMENT}")
endforeach()

# Another project uses the library: installed, and as a subfolder (tests/consumer).
add_test(NAME consumer COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/consumer/test_consumer.py"
  "${PROJECT_BINARY_DIR}" "${PROJECT_SOURCE_DIR}" "-DMORPH_SUBSTRATE_PREFIX=${MORPH_SUBSTRATE_PREFIX}"
  "-DMORPH_OPENVINO_DIR=${MORPH_OPENVINO_DIR}" "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}")
set_tests_properties(consumer PROPERTIES LABELS "consumer" TIMEOUT 1200 ENVIRONMENT "${MORPH_TEST_ENVIRONMENT}")
