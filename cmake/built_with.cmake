# build.json beside libmollifield.so: what it and the LAMMPS plugin were built with, for `mollifield info` and for the
# check that the torch which runs is of the same release (plugin/mollifield/installation.py).
file(STRINGS "${TORCH_DIR}/version.py" line REGEX "^__version__ = ")
string(REGEX REPLACE "^.*'([^']+)'.*$" "\\1" torch_version "${line}")
set(facts "\"torch\": \"${torch_version}\"")
string(APPEND facts ", \"compiler\": \"${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}\"")

# Of libstdc++'s two layouts of std::string, which one; another standard library has but one.
execute_process(
  COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -dM -E -x c++ -include string /dev/null OUTPUT_VARIABLE macros ERROR_QUIET)
if(macros MATCHES "_GLIBCXX_USE_CXX11_ABI ([01])")
  string(APPEND facts ", \"cxx11_abi\": ${CMAKE_MATCH_1}")
endif()

set(sets "\"portable\"")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  string(APPEND sets ", \"avx2\", \"avx512\"")
endif()
string(APPEND facts ", \"instruction_sets\": [${sets}]")
if(MOLLIFIELD_LAMMPS)
  string(APPEND facts ", \"lammps\": ${LAMMPS_VERSION_NUMBER}")
endif()

set(build_json "${CMAKE_CURRENT_BINARY_DIR}/build.json")
file(CONFIGURE OUTPUT "${build_json}" CONTENT "{${facts}}\n")
add_custom_command(
  TARGET mollifield POST_BUILD COMMAND ${CMAKE_COMMAND} -E copy_if_different "${build_json}" "${MOLLIFIELD_CORE_DIR}/build.json"
  VERBATIM)
set_property(TARGET mollifield APPEND PROPERTY LINK_DEPENDS "${build_json}")
