# SPDX-License-Identifier: BSD-2-Clause
# Debian packages, one for each component: cpack -G DEB, in a build with the prefix /usr (scripts/packages-test.sh does it all).
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "ppk-pkcs11")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # else it would stand above the description of each
set(CPACK_PACKAGE_CONTACT "ppk-pkcs11 developers <ppk-pkcs11@example.org>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON) # some files are not below the prefix
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL libppk-pkcs11 libppk-pkcs11-dev ppkctl skipd ppk-pkcs11-server)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/PackageFiles.cmake)

file(WRITE ${CMAKE_BINARY_DIR}/debian/changelog.Debian "ppk-pkcs11 (${PROJECT_VERSION}-1) bookworm; urgency=medium\n\n"
  "  * Packages made by CPack.\n\n -- ${CPACK_PACKAGE_CONTACT}  Mon, 23 Nov 2026 12:00:00 +0000\n")
execute_process(COMMAND gzip -9nkf ${CMAKE_BINARY_DIR}/debian/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)

# ppk_package(COMPONENT SECTION DEPENDS SUMMARY TEXT): what dpkg is told of one; with SHLIBS, the libraries are found out as well.
macro(ppk_package component section depends summary text)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${component})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
  set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "${depends}")
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary}\n${text}")
  set(CPACK_DEBIAN_${upper}_PACKAGE_SHLIBDEPS ON)
  install(FILES ${CMAKE_BINARY_DIR}/debian/changelog.Debian.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${component} COMPONENT ${component})
  install(FILES ${PROJECT_SOURCE_DIR}/conf/debian/copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${component} 
    COMPONENT ${component})
endmacro()

set(same "(= ${PROJECT_VERSION}-1)")
ppk_package(libppk-pkcs11 libs "" "PKCS#11 token for IKEv2 postquantum preshared keys"
  "The token gives IKE stacks postquantum preshared keys (RFC 8784), which it\nfetches over SKIP from key sources. No such key ever leaves it.")
ppk_package(libppk-pkcs11-dev libdevel "libp11-kit-dev" "PKCS#11 token for postquantum preshared keys: headers"
  "The vendor attributes of the token's objects, for IKE stacks and tools.")
ppk_package(ppkctl admin "libppk-pkcs11 ${same}" "operator's command of the token for postquantum preshared keys"
  "Checks and shows configurations, encrypts secrets, asks key sources what\nthey can do, and fetches keys for a test.")
ppk_package(skipd net "" "key source for postquantum preshared keys: a SKIP server"
  "Gives encryptors postquantum preshared keys over SKIP, and synchronizes\nthem with the key source of the other end.")
ppk_package(ppk-pkcs11-server admin "libppk-pkcs11 ${same}, p11-kit, systemd" "isolated token for postquantum preshared keys"
  "Runs the token in processes and under a user of its own, for clients that\nspeak to it over a socket.")
if(TARGET strongswan-ppk)
  list(APPEND CPACK_COMPONENTS_ALL strongswan-plugin-ppk)
  file(READ ${PPK_STRONGSWAN_INCLUDE}/VERSION version)
  string(REGEX MATCH "^[^-\n]+" version "${version}") # plugins go with the very version that they were built for
  ppk_package(strongswan-plugin-ppk net "libppk-pkcs11 ${same}, strongswan-libcharon (>= ${version}), strongswan-libcharon (<< ${version}.1)"
    "strongSwan plugin for postquantum preshared keys from a token"
    "Takes postquantum preshared keys (RFC 8784) from a PKCS#11 token, in which\ncharon's prf+ is computed.")
  file(WRITE ${CMAKE_BINARY_DIR}/debian/conffiles "${PPK_STRONGSWAN_CONF_DIR}/ppk.conf\n")
  list(APPEND CPACK_DEBIAN_STRONGSWAN-PLUGIN-PPK_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/debian/conffiles)
endif()
foreach(component libppk-pkcs11-dev ppk-pkcs11-server)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SHLIBDEPS OFF)
  set(CPACK_DEBIAN_${upper}_PACKAGE_ARCHITECTURE all)
endforeach()
foreach(component libppk-pkcs11 skipd ppk-pkcs11-server)
  string(TOUPPER ${component} upper)
  file(GLOB scripts ${PROJECT_SOURCE_DIR}/conf/debian/${component}/*)
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${scripts})
endforeach()
include(CPack)
