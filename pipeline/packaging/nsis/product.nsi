; NSIS 3.08 or later, on Windows or Linux. Signs the uninstaller before it is packed, and then the installer:
;
;   makensis -DSIGN="signpipe submit -c builder.yaml --in-place" product.nsi
;
; "= 0" ends makensis if a file is not signed. Sign the programs before they are packed:
;
;   signpipe submit -c builder.yaml --in-place build/*.exe build/*.dll

!ifndef OUTPUT
  !define OUTPUT "product-setup.exe"
!endif
!ifndef BUILD
  !define BUILD "build"
!endif

Unicode true
Name "Product"
OutFile "${OUTPUT}"
InstallDir "$PROGRAMFILES64\Product"
RequestExecutionLevel admin

!ifdef SIGN
  !uninstfinalize '${SIGN} "%1"' = 0
  !finalize '${SIGN} "%1"' = 0
!endif

Section
  SetOutPath "$INSTDIR"
  File "${BUILD}/*.exe"
  WriteUninstaller "$INSTDIR\uninstall.exe"
SectionEnd

Section "Uninstall"
  Delete "$INSTDIR\*.exe"
  RMDir "$INSTDIR"
SectionEnd
