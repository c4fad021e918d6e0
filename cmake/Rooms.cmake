# SPDX-License-Identifier: BSD-2-Clause
# ppk_room(NAME SOURCES file... USES room-or-target...): a static library ppk-NAME of one folder. Its headers are
# included by the path under src/, for example "base/log.h".
function(ppk_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES" ${ARGN})
  add_library(ppk-${name} STATIC ${ROOM_SOURCES})
  target_include_directories(ppk-${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(ppk-${name} PUBLIC ${ROOM_USES})
endfunction()

# ppk_unit_test(FILE USES target...): a cmocka program of one file, known to ctest by the file's name.
function(ppk_unit_test file)
  cmake_parse_arguments(UNIT "" "" "USES;LABELS" ${ARGN})
  get_filename_component(name ${file} NAME_WE)
  add_executable(${name} ${file})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE PPK_SOURCE_DIR="${PROJECT_SOURCE_DIR}" PPK_BUILD_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${UNIT_USES} cmocka Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS "unit;${UNIT_LABELS}")
endfunction()
