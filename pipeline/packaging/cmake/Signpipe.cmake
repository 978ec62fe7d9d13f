# Signs what a CMake build and CPack produce. CMake 3.19 or later.
#
#   set(SIGNPIPE_CONFIG "$ENV{HOME}/builder.yaml" CACHE FILEPATH "builder.yaml")
#   include(Signpipe.cmake)
#   signpipe_sign(app library)   # as soon as a target is linked, or:
#   signpipe_sign_packages()     # everything at once when CPack packs, before include(CPack)
#
# SIGNPIPE_COMMAND is the program with its first arguments, SIGNPIPE_FLAGS are further flags of `signpipe submit`.

set(SIGNPIPE_CONFIG "" CACHE FILEPATH "builder.yaml of signpipe; empty: nothing is signed")
set(SIGNPIPE_COMMAND "signpipe" CACHE STRING "signpipe, with its first arguments, as a list")
set(SIGNPIPE_FLAGS "" CACHE STRING "further flags of signpipe submit, as a list")
set(SIGNPIPE_FOLDER "${CMAKE_CURRENT_LIST_DIR}")

# Signs each target after it is linked: one request for each. To sign many, leave that to CPack.
function(signpipe_sign)
  if(NOT SIGNPIPE_CONFIG)
    return()
  endif()
  foreach(target IN LISTS ARGN)
    add_custom_command(TARGET ${target} POST_BUILD
      COMMAND ${SIGNPIPE_COMMAND} submit -c "${SIGNPIPE_CONFIG}" --in-place ${SIGNPIPE_FLAGS} "$<TARGET_FILE:${target}>"
      COMMENT "Signing ${target}" VERBATIM)
  endforeach()
endfunction()

# Signs the programs that CPack packs, in one request, and then the packages. A macro: CPack's variables are the caller's.
macro(signpipe_sign_packages)
  if(SIGNPIPE_CONFIG)
    configure_file("${SIGNPIPE_FOLDER}/sign-files.cmake.in" "${CMAKE_BINARY_DIR}/signpipe-sign-files.cmake" @ONLY)
    configure_file("${SIGNPIPE_FOLDER}/sign-content.cmake.in" "${CMAKE_BINARY_DIR}/signpipe-sign-content.cmake" @ONLY)
    configure_file("${SIGNPIPE_FOLDER}/sign-packages.cmake.in" "${CMAKE_BINARY_DIR}/signpipe-sign-packages.cmake" @ONLY)
    list(APPEND CPACK_PRE_BUILD_SCRIPTS "${CMAKE_BINARY_DIR}/signpipe-sign-content.cmake")
    list(APPEND CPACK_POST_BUILD_SCRIPTS "${CMAKE_BINARY_DIR}/signpipe-sign-packages.cmake")
  endif()
endmacro()
