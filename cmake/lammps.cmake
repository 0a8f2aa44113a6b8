# Target `lammps_headers`: headers, version and MPI of the LAMMPS to build for. The plugin resolves LAMMPS
# symbols in the program that loads it, so no LAMMPS library is linked.
if(LAMMPS_ROOT)
  set(lammps_prefix "${LAMMPS_ROOT}")
else()
  package_directory(lammps lammps_prefix)
endif()
find_path(LAMMPS_INCLUDE_DIR pair.h PATHS "${lammps_prefix}/include/lammps" "${lammps_prefix}/src" "${lammps_prefix}"
          NO_DEFAULT_PATH REQUIRED)

# An installation states its version in liblammps.pc (2025.7.22.4), a source tree in version.h ("22 Jul 2025").
file(GLOB lammps_pc "${lammps_prefix}/pkgconfig/liblammps.pc" "${lammps_prefix}/lib*/pkgconfig/liblammps.pc"
     "${lammps_prefix}/lib/*/pkgconfig/liblammps.pc")
if(lammps_pc)
  list(GET lammps_pc 0 lammps_pc)
  file(STRINGS "${lammps_pc}" line REGEX "^Version:")
  string(REGEX MATCH "([0-9]+)\\.([0-9]+)\\.([0-9]+)" _ "${line}")
  set(date ${CMAKE_MATCH_1} ${CMAKE_MATCH_2} ${CMAKE_MATCH_3})
elseif(EXISTS "${LAMMPS_INCLUDE_DIR}/version.h")
  file(STRINGS "${LAMMPS_INCLUDE_DIR}/version.h" line REGEX "LAMMPS_VERSION ")
  string(REGEX MATCH "([0-9]+) ([A-Z][a-z][a-z])[a-z]* ([0-9]+)" _ "${line}")
  list(FIND "Jan;Feb;Mar;Apr;May;Jun;Jul;Aug;Sep;Oct;Nov;Dec" "${CMAKE_MATCH_2}" month)
  math(EXPR month "${month} + 1")
  set(date ${CMAKE_MATCH_3} ${month} ${CMAKE_MATCH_1})
else()
  message(FATAL_ERROR "neither liblammps.pc nor version.h under '${lammps_prefix}': cannot tell the LAMMPS version")
endif()
list(GET date 0 year)
list(GET date 1 month)
list(GET date 2 day)
math(EXPR LAMMPS_VERSION_NUMBER "10000 * ${year} + 100 * ${month} + ${day}")
message(STATUS "LAMMPS: ${LAMMPS_INCLUDE_DIR}, version ${LAMMPS_VERSION_NUMBER}")

# The mpich wheel installs mpicxx next to python.
get_filename_component(python_bin "${Python_EXECUTABLE}" DIRECTORY)
find_program(MPI_CXX_COMPILER mpicxx HINTS "${python_bin}" REQUIRED)
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI COMPONENTS CXX REQUIRED)

option(LAMMPS_BIGBIG "LAMMPS was built with 64-bit atom IDs" OFF)
add_library(lammps_headers INTERFACE)
target_include_directories(lammps_headers SYSTEM INTERFACE "${LAMMPS_INCLUDE_DIR}")
target_compile_definitions(
  lammps_headers INTERFACE MOLLIFIELD_LAMMPS_VERSION=${LAMMPS_VERSION_NUMBER}
                           $<IF:$<BOOL:${LAMMPS_BIGBIG}>,LAMMPS_BIGBIG,LAMMPS_SMALLBIG>)
target_link_libraries(lammps_headers INTERFACE MPI::MPI_CXX)
