# Target `bench`: tests/bench/FOLDER/*.cpp -> bench_FOLDER (Google Benchmark), built and run only when
# asked for.
find_package(benchmark QUIET)
set(programs "")
if(benchmark_FOUND)
  foreach(folder topology costmodel reports planner)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/bench/${folder}/*.cpp)
    if(NOT sources OR NOT TARGET ${folder})
      continue()
    endif()
    add_executable(bench_${folder} EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(bench_${folder} PRIVATE trainwright::options trainwright::${folder}
      benchmark::benchmark benchmark::benchmark_main)
    list(APPEND programs bench_${folder})
  endforeach()
endif()

set(commands "")
foreach(program IN LISTS programs)
  list(APPEND commands COMMAND ${program})
endforeach()
if(NOT programs)
  set(commands COMMAND ${CMAKE_COMMAND} -E echo "bench: no benchmark to run in tests/bench"
    COMMAND ${CMAKE_COMMAND} -E false)
endif()
add_custom_target(bench ${commands} USES_TERMINAL VERBATIM)
if(programs)
  add_dependencies(bench ${programs})
endif()
