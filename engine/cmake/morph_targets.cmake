# Static libraries and programs from folders. A target whose folders hold no source yet is skipped, and names of skipped
# targets are dropped from link lists, so that a partly filled tree builds.

# morph_sources(OUT FOLDERS... [EXCLUDE REGEX]): every .cpp below the folders.
function(morph_sources out)
  cmake_parse_arguments(arg "" "EXCLUDE" "FOLDERS" ${ARGN})
  set(all "")
  foreach(folder IN LISTS arg_FOLDERS)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.cpp")
    list(APPEND all ${found})
  endforeach()
  if(arg_EXCLUDE)
    list(FILTER all EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  list(SORT all)
  set(${out} "${all}" PARENT_SCOPE)
endfunction()

# morph_existing(OUT NAMES...): NAMES without our own targets (morph_*) that were skipped.
function(morph_existing out)
  set(kept "")
  foreach(name IN LISTS ARGN)
    if(TARGET ${name} OR NOT name MATCHES "^morph_")
      list(APPEND kept ${name})
    endif()
  endforeach()
  set(${out} "${kept}" PARENT_SCOPE)
endfunction()

# morph_add_library(NAME FOLDERS... [EXCLUDE REGEX] [PUBLIC_INCLUDE DIRS] [PRIVATE_INCLUDE DIRS] [LINK TARGETS]
# [LINK_PRIVATE TARGETS]); directories are relative to the checkout.
function(morph_add_library name)
  cmake_parse_arguments(arg "" "EXCLUDE" "FOLDERS;SOURCES;PUBLIC_INCLUDE;PRIVATE_INCLUDE;LINK;LINK_PRIVATE" ${ARGN})
  set(sources ${arg_SOURCES})
  if(arg_FOLDERS)
    morph_sources(found FOLDERS ${arg_FOLDERS} EXCLUDE "${arg_EXCLUDE}")
    list(APPEND sources ${found})
  endif()
  if(NOT sources)
    message(STATUS "${name}: no source yet, skipped")
    return()
  endif()
  add_library(${name} STATIC ${sources})
  foreach(folder IN LISTS arg_PUBLIC_INCLUDE)
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}/${folder}")
  endforeach()
  foreach(folder IN LISTS arg_PRIVATE_INCLUDE)
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/${folder}")
  endforeach()
  morph_existing(public ${arg_LINK})
  morph_existing(private ${arg_LINK_PRIVATE})
  target_link_libraries(${name} PUBLIC ${public} PRIVATE morph_options ${private})
endfunction()

# morph_engine_headers: the engine's include folders without linking it, for the time before it has a source.
add_library(morph_engine_headers INTERFACE)
target_include_directories(morph_engine_headers INTERFACE "${PROJECT_SOURCE_DIR}/engine/include"
                           "${PROJECT_SOURCE_DIR}/engine")

set(MORPH_MODALITIES "")
set(MORPH_MODALITY_APIS "")

# morph_add_modality(NAME [LINK_PRIVATE TARGETS]): from modalities/NAME,
#   morph_NAME_api      its public headers, seen by every other modality and by ui/
#   morph_NAME_payload  the sources right in the folder: its payload types, which others may make and take
#   morph_NAME          all other sources
macro(morph_add_modality name)
  cmake_parse_arguments(modality "" "" "LINK_PRIVATE" ${ARGN})
  add_library(morph_${name}_api INTERFACE)
  target_include_directories(morph_${name}_api INTERFACE "${PROJECT_SOURCE_DIR}/modalities/${name}/include")
  list(APPEND MORPH_MODALITIES ${name})
  list(APPEND MORPH_MODALITY_APIS morph_${name}_api)
  set(MORPH_MODALITY_${name}_LINK ${modality_LINK_PRIVATE})
  file(GLOB modality_payload CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/modalities/${name}/*.cpp")
  if(modality_payload)
    morph_add_library(morph_${name}_payload SOURCES ${modality_payload} LINK morph_${name}_api morph_engine
      LINK_PRIVATE morph_engine_headers fmt::fmt nlohmann_json::nlohmann_json)
  endif()
endmacro()

# morph_finish_modalities(): the libraries themselves, once all headers and payloads are known.
function(morph_finish_modalities)
  set(payloads "")
  foreach(name IN LISTS MORPH_MODALITIES)
    list(APPEND payloads morph_${name}_payload)
  endforeach()
  foreach(name IN LISTS MORPH_MODALITIES)
    morph_add_library(morph_${name}
      FOLDERS modalities/${name}
      EXCLUDE "/modalities/${name}/([^/]*|(modules|programs)/[^/]*)\\.cpp$"
      PRIVATE_INCLUDE modalities/${name} engine
      LINK morph_engine morph_tensor morph_openvino morph_${name}_api ${payloads}
      LINK_PRIVATE ${MORPH_MODALITY_APIS} ${MORPH_MODALITY_${name}_LINK} fmt::fmt spdlog::spdlog
      nlohmann_json::nlohmann_json)
    # modules/X.cpp: a shared library of its own, loaded when first needed (engine/base/loaded_module.h).
    file(GLOB modules CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/modalities/${name}/modules/*.cpp")
    foreach(source IN LISTS modules)
      get_filename_component(module "${source}" NAME_WE)
      add_library(morph_${module} MODULE "${source}")
      target_include_directories(morph_${module} PRIVATE "${PROJECT_SOURCE_DIR}/modalities/${name}"
        "${PROJECT_SOURCE_DIR}/engine/include")
      target_link_libraries(morph_${module} PRIVATE morph_options ${MORPH_MODULE_${module}_LINK})
      set_target_properties(morph_${module} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/modules"
        CXX_VISIBILITY_PRESET hidden)
      set_property(GLOBAL APPEND PROPERTY MORPH_MODULES morph_${module})
      if(TARGET morph_${name})
        add_dependencies(morph_${name} morph_${module})
      endif()
    endforeach()
    # programs/X.cpp: a program of its own beside the modules, which the library starts for work that must not be able to
    # harm the process.
    file(GLOB programs CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/modalities/${name}/programs/*.cpp")
    foreach(source IN LISTS programs)
      get_filename_component(program "${source}" NAME_WE)
      add_executable(morph_${program} "${source}")
      target_include_directories(morph_${program} PRIVATE "${PROJECT_SOURCE_DIR}/modalities/${name}"
        "${PROJECT_SOURCE_DIR}/engine/include")
      target_link_libraries(morph_${program} PRIVATE morph_options ${MORPH_PROGRAM_${program}_LINK})
      target_compile_definitions(morph_${program} PRIVATE ${MORPH_PROGRAM_${program}_DEFINITIONS})
      set_target_properties(morph_${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/modules")
      set_property(GLOBAL APPEND PROPERTY MORPH_MODULES morph_${program})
      if(TARGET morph_${name})
        add_dependencies(morph_${name} morph_${program})
      endif()
    endforeach()
  endforeach()
endfunction()

# morph_add_program(NAME MAIN FILE [INCLUDE DIRS] [LINK TARGETS])
function(morph_add_program name)
  cmake_parse_arguments(arg "" "MAIN" "INCLUDE;LINK" ${ARGN})
  if(NOT EXISTS "${PROJECT_SOURCE_DIR}/${arg_MAIN}")
    message(STATUS "${name}: no ${arg_MAIN} yet, skipped")
    return()
  endif()
  add_executable(${name} "${PROJECT_SOURCE_DIR}/${arg_MAIN}")
  foreach(folder IN LISTS arg_INCLUDE)
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/${folder}")
  endforeach()
  morph_existing(link ${arg_LINK})
  target_link_libraries(${name} PRIVATE morph_options ${link})
endfunction()
