# One place for compile options: trainwright::options is linked by every target of ours.
add_library(trainwright_options INTERFACE)
add_library(trainwright::options ALIAS trainwright_options)
target_compile_options(trainwright_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -ffp-contract=off
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= $<$<BOOL:${TW_WERROR}>:-Werror>)
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
