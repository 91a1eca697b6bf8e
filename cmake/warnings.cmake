# One place for compile options: trainwright::options is linked by every target of ours. Warnings
# are errors up to the compiler that CI has (GCC 12): a newer one may find others, and must not stop
# a user's build.
add_library(trainwright_options INTERFACE)
add_library(trainwright::options ALIAS trainwright_options)
target_compile_options(trainwright_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -ffp-contract=off
  # GCC 12 warns of `"text" + std::string` in its own headers (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=
  $<$<AND:$<BOOL:${TW_WERROR}>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Werror>)
target_include_directories(trainwright_options INTERFACE ${CMAKE_SOURCE_DIR})
if(TW_SANITIZE)
  target_compile_options(trainwright_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(trainwright_options INTERFACE -fsanitize=address,undefined)
endif()

# tw_library(NAME): a static library of this folder's *.cpp, with the alias trainwright::NAME.
function(tw_library name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  add_library(${name} STATIC ${sources} ${ARGN})
  add_library(trainwright::${name} ALIAS ${name})
  target_link_libraries(${name} PUBLIC trainwright::options)
endfunction()
