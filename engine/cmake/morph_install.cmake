# morph::morph, the whole of Metamorph as one shared library for other programs, and what `cmake --install` puts where:
#   bin/morph   lib/libmorph.so   lib/morph/ (modules)   lib/cmake/morph/   include/morph/   share/morph/ (pipelines, starter)
# Another project says find_package(morph) or add_subdirectory(...) and links morph::morph; tests/consumer is such a one.
# The tensor substrate and OpenVINO stay where setup/ made them: they are found by the run path.
include(CMakePackageConfigHelpers)

set(morph_parts morph_engine morph_tensor morph_openvino morph_everything)
foreach(modality IN LISTS MORPH_MODALITIES)
  list(APPEND morph_parts morph_${modality} morph_${modality}_payload)
endforeach()
morph_existing(morph_parts ${morph_parts})
set(objects "")
set(libraries "")
foreach(part IN LISTS morph_parts)
  list(APPEND objects $<TARGET_OBJECTS:${part}>)
  get_target_property(links ${part} LINK_LIBRARIES)
  list(APPEND libraries ${links})
endforeach()
list(FILTER libraries EXCLUDE REGEX "^morph_|LINK_GROUP|LINK_ONLY")
list(REMOVE_DUPLICATES libraries)

add_library(morph_library SHARED ${objects})
add_library(morph::morph ALIAS morph_library)
set_target_properties(morph_library PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME morph EXPORT_NAME morph
  VERSION ${PROJECT_VERSION} SOVERSION 0)
target_compile_features(morph_library INTERFACE cxx_std_20)
target_link_libraries(morph_library PRIVATE morph_options ${libraries})
target_include_directories(morph_library INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/engine/include>")
foreach(modality IN LISTS MORPH_MODALITIES)
  target_include_directories(morph_library INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/modalities/${modality}/include>")
endforeach()

install(TARGETS morph_library EXPORT morph LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS morph RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
get_property(modules GLOBAL PROPERTY MORPH_MODULES)
if(modules)
  install(TARGETS ${modules} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/morph
    RUNTIME DESTINATION ${CMAKE_INSTALL_LIBDIR}/morph)
  add_dependencies(morph_library ${modules})
endif()
set(folders engine)
foreach(modality IN LISTS MORPH_MODALITIES)
  list(APPEND folders modalities/${modality})
endforeach()
foreach(folder IN LISTS folders)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${folder}/include/morph" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()
install(DIRECTORY "${PROJECT_SOURCE_DIR}/pipelines" DESTINATION ${CMAKE_INSTALL_DATADIR}/morph)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/assets/starter" DESTINATION ${CMAKE_INSTALL_DATADIR}/morph/assets
  PATTERN __pycache__ EXCLUDE)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION ${CMAKE_INSTALL_DATADIR}/morph)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/morph)
install(EXPORT morph NAMESPACE morph:: FILE morphTargets.cmake DESTINATION ${package})
file(WRITE "${PROJECT_BINARY_DIR}/generated/morphConfig.cmake"
  "include(\"\${CMAKE_CURRENT_LIST_DIR}/morphTargets.cmake\")\n")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/generated/morphConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/generated/morphConfig.cmake"
  "${PROJECT_BINARY_DIR}/generated/morphConfigVersion.cmake" DESTINATION ${package})
