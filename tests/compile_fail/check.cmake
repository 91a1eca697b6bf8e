# A twin compiles as it is, and does not with TW_MUST_FAIL. Its first line, `// error: REGEX`, says
# what GCC complains about, so that a twin cannot fail for another reason.
file(STRINGS ${SOURCE} first LIMIT_COUNT 1)
if(NOT first MATCHES "^// error: (.+)$")
  message(FATAL_ERROR "${SOURCE}: the first line must be `// error: REGEX`")
endif()
set(expected "${CMAKE_MATCH_1}")

set(command ${CMAKE_COMMAND} -E env LC_ALL=C ${COMPILER} -std=c++20
  -fsyntax-only -fdiagnostics-color=never -I${ROOT} ${SOURCE})
execute_process(COMMAND ${command} RESULT_VARIABLE status ERROR_VARIABLE text)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must compile without TW_MUST_FAIL:\n${text}")
endif()
execute_process(COMMAND ${command} -DTW_MUST_FAIL RESULT_VARIABLE status ERROR_VARIABLE text)
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must not compile with TW_MUST_FAIL")
endif()
if(COMPILER_ID STREQUAL GNU AND NOT text MATCHES "error: [^\n]*${expected}")
  message(FATAL_ERROR "${SOURCE} fails, but not with an error that matches \"${expected}\":\n${text}")
endif()
