# Checks of the source itself, in the release tree only: the house rules (unit_house), every header
# alone (header_check), and the compile-failure twins (compile_fail.NAME).

# unit_house compares the rows of every registry with a golden; their list is generated here.
get_property(registries GLOBAL PROPERTY TW_REGISTRIES)
set(includes "")
set(entries "")
set(libraries "")
foreach(registry IN LISTS registries)
  string(REPLACE "|" ";" parts ${registry})
  list(GET parts 0 library)
  list(GET parts 1 folder)
  list(GET parts 2 header)
  list(APPEND libraries trainwright::${library})
  string(APPEND includes "#include \"${header}\"\n")
  string(APPEND entries "      {\"${folder}\", row_names(all_${folder}())},\n")
endforeach()
list(REMOVE_DUPLICATES libraries)
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/registries.cpp @ONLY CONTENT
"// Generated from the calls of tw_registry.
#include \"tests/unit/house/registries.hpp\"

#include \"topology/registry.hpp\"
${includes}
namespace tw::house {

std::vector<RegistryNames> registries() {
  return {
${entries}  };
}

}  // namespace tw::house
")
tw_tests(unit house ${libraries})
if(TARGET unit_house)
  target_sources(unit_house PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/registries.cpp)
endif()

# Each header is compiled alone, and twice in one file, so that a missing include or guard stops the build.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/topology/*.hpp
  ${CMAKE_SOURCE_DIR}/costmodel/*.hpp ${CMAKE_SOURCE_DIR}/reports/*.hpp ${CMAKE_SOURCE_DIR}/planner/*.hpp
  ${CMAKE_SOURCE_DIR}/kernels/*.hpp)
add_library(header_check OBJECT)
foreach(header IN LISTS headers)
  string(MAKE_C_IDENTIFIER ${header} stem)
  set(alone ${CMAKE_CURRENT_BINARY_DIR}/headers/${stem}.cpp)
  file(CONFIGURE OUTPUT ${alone} CONTENT "#include \"${header}\"\n#include \"${header}\"\n" @ONLY)
  target_sources(header_check PRIVATE ${alone})
endforeach()
target_link_libraries(header_check PRIVATE trainwright::options)
target_compile_options(header_check PRIVATE -O0)

file(GLOB twins CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp)
foreach(twin IN LISTS twins)
  get_filename_component(stem ${twin} NAME_WE)
  add_test(NAME compile_fail.${stem} COMMAND ${CMAKE_COMMAND}
    -DCOMPILER=${CMAKE_CXX_COMPILER} -DCOMPILER_ID=${CMAKE_CXX_COMPILER_ID}
    -DSOURCE=${twin} -DROOT=${CMAKE_SOURCE_DIR}
    -P ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/check.cmake)
  set_tests_properties(compile_fail.${stem} PROPERTIES LABELS unit TIMEOUT 60)
endforeach()
