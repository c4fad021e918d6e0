# SPDX-License-Identifier: BSD-2-Clause
# Warnings, hardening and sanitizers for everything that is built.
include(CheckCCompilerFlag)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(PPK_SANITIZE "" CACHE STRING "sanitizers to build with, as -fsanitize takes them")
option(PPK_COVERAGE "instrument for gcovr" OFF)

add_compile_options(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fstack-protector-strong
                    -fcf-protection -fno-delete-null-pointer-checks)
# gcc clears a few hundred bytes by "rep stos", which took a twentieth of a derivation, and more of a search.
check_c_compiler_flag(-mmemset-strategy=vector_loop:512:noalign,libcall:-1:noalign PPK_MEMSET_STRATEGY)
if(PPK_MEMSET_STRATEGY)
  add_compile_options(-mmemset-strategy=vector_loop:512:noalign,libcall:-1:noalign)
endif()
add_compile_definitions(_GNU_SOURCE)
add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  add_link_options(-Wl,-z,shstk) # all of ours is; the C library's start files say nothing, and then neither would the linker
endif()
if(PPK_SANITIZE)
  add_compile_options(-fsanitize=${PPK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PPK_SANITIZE})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
option(PPK_FUZZ "build the fuzz targets with libFuzzer (clang)" OFF)
if(PPK_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
# A module that is instrumented takes the sanitizer's functions from the program that loads it.
if(NOT PPK_SANITIZE AND NOT PPK_FUZZ)
  add_link_options(-Wl,-z,defs)
endif()
if(PPK_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()
# What is released is optimized as a whole: a call into the token crosses several rooms, none of them large.
if(NOT PPK_SANITIZE AND NOT PPK_COVERAGE AND NOT PPK_FUZZ AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  include(CheckIPOSupported)
  check_ipo_supported(RESULT PPK_IPO LANGUAGES C)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ${PPK_IPO})
  # The tests, more than a hundred programs, take the object code that stands beside (tests/CMakeLists.txt): a build takes a third less.
  list(TRANSFORM CMAKE_C_COMPILE_OPTIONS_IPO REPLACE "^-fno-fat-lto-objects$" "-ffat-lto-objects")
endif()
