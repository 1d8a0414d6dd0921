# make install: the header, the libraries, the program, and what pkg-config and find_package() read.
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/tilewise)

install(FILES include/tilewise.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS tilewise_cli ${libraries} EXPORT tilewise-targets)
install(EXPORT tilewise-targets NAMESPACE tilewise:: DESTINATION ${package_folder})

# What metal-sim compiles kernels with, and from, as the source tree has them.
install(DIRECTORY tools/metal DESTINATION ${CMAKE_INSTALL_DATADIR}/tilewise/tools USE_SOURCE_PERMISSIONS
  PATTERN __pycache__ EXCLUDE)
install(DIRECTORY src/ops DESTINATION ${CMAKE_INSTALL_DATADIR}/tilewise/src FILES_MATCHING PATTERN "*.metal" PATTERN "*.h")

configure_package_config_file(cmake/tilewise-config.cmake.in tilewise-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(tilewise-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tilewise-config.cmake ${PROJECT_BINARY_DIR}/tilewise-config-version.cmake
  cmake/FindPthreadpool.cmake DESTINATION ${package_folder})

# The prefix may be chosen at install time (make install PREFIX=...), so the .pc file finds itself.
file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
set(pc_cuda_libs "")
if(cuda_objects)
  set(pc_cuda_libs " ${CUDART_STATIC} -lrt")
endif()
configure_file(cmake/tilewise.pc.in tilewise.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/tilewise.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
