# tw_registry(TARGET FOLDER HEADER ROW): every FOLDER/*.cpp defines `constinit const ROW
# tw::FOLDER::STEM`; this lists them as the table `tw::all_FOLDER()`, declared in HEADER. Each call
# is noted in the global property TW_REGISTRIES ("TARGET|FOLDER|HEADER"), from which the registry
# golden is made.
function(tw_registry target folder header row)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
  if(NOT sources)
    return()
  endif()
  list(SORT sources)
  list(LENGTH sources count)
  set(declarations "")
  set(entries "")
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WLE)
    if(NOT stem MATCHES "^[a-z][a-z0-9_]*$")
      message(FATAL_ERROR "${source}: a registry file's name must match [a-z][a-z0-9_]*")
    endif()
    string(APPEND declarations "extern const ${row} ${stem};\n")
    string(APPEND entries "    &${folder}::${stem},\n")
  endforeach()
  set(text "// Generated from the files of ${folder}/.
#include <array>

#include \"${header}\"
namespace tw {
namespace ${folder} {
${declarations}}
std::span<const ${row}* const> all_${folder}() {
  static constexpr std::array<const ${row}*, ${count}> rows{
${entries}  };
  return rows;
}
}  // namespace tw
")
  set(table ${CMAKE_CURRENT_BINARY_DIR}/${folder}_registry.cpp)
  file(CONFIGURE OUTPUT ${table} CONTENT "${text}" @ONLY)
  target_sources(${target} PRIVATE ${sources} ${table})
  set_property(GLOBAL APPEND PROPERTY TW_REGISTRIES "${target}|${folder}|${header}")
endfunction()
