; Inno Setup signs the programs, the uninstaller and Setup itself. Define the tool on the compiler's command line:
;
;   iscc "/Ssignpipe=signpipe.cmd submit -c $qC:\ProgramData\signpipe\builder.yaml$q --in-place $f" product.iss
;
; Inno Setup replaces $f by the quoted name of the file, and $q by a quote. An exit status other than 0 ends the
; compilation. With SignTool set, the uninstaller is signed too.

[Setup]
AppName=Product
AppVersion=1.0
DefaultDirName={autopf}\Product
OutputBaseFilename=product-setup
SignTool=signpipe

[Files]
; signonce: signed before it is packed, unless it is signed already.
Source: "build\*.exe"; DestDir: "{app}"; Flags: signonce
Source: "build\*.dll"; DestDir: "{app}"; Flags: signonce
