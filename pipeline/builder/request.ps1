<#
.SYNOPSIS
Requests the signature of a file with only scp, git and PowerShell, and prints the request's id.

.DESCRIPTION
For Windows with its OpenSSH client and Git for Windows; Windows PowerShell 5.1 or PowerShell 7. Run it in a clone of the
control repository in which Git signs commits:

  git config gpg.format ssh
  git config user.signingkey C:/Users/build/.ssh/id_ed25519
  .\request.ps1 -File ..\out\build.zip -Exchange build@build.example.org:exchange

`signpipe wait ID`, or the trailer "Request:" in `git log origin/signed`, has the answer. To withdraw the request:

  git commit -S --allow-empty -m "Cancel build.zip" --trailer "Cancel: ID"; git push
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [string] $File,

    # SSH account and folder of the exchange.
    [string] $Exchange = $env:EXCHANGE
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

# A program that fails does not stop a script by itself.
function Invoke-Program {
    param([string] $Program, [string[]] $Arguments)
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with exit status $LASTEXITCODE" }
}

if (-not $Exchange) { throw 'which exchange? Give -Exchange USER@HOST:FOLDER' }
$item = Get-Item -LiteralPath $File
$digest = (Get-FileHash -LiteralPath $item.FullName -Algorithm SHA256).Hash.ToLowerInvariant()

# Relative, since scp takes C: for the name of a host.
Push-Location -LiteralPath $item.DirectoryName
try {
    Invoke-Program scp @('-q', "./$($item.Name)", "$Exchange/incoming/$($item.Name)")
}
finally {
    Pop-Location
}

Invoke-Program git @('pull', '-q', '--ff-only')
# Not Set-Content: Windows PowerShell would write a byte order mark, or another encoding.
$zipname = Join-Path -Path (Get-Location).ProviderPath -ChildPath 'zipname'
$line = "$digest  $($item.Name)`n"
[System.IO.File]::WriteAllText($zipname, $line)
Invoke-Program git @('add', 'zipname')
& git diff --cached --quiet
if ($LASTEXITCODE -eq 0) {
    # The same bytes again: only a changed zipname is a request.
    $now = [System.DateTime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ', [System.Globalization.CultureInfo]::InvariantCulture)
    [System.IO.File]::WriteAllText($zipname, ($line + '# again, ' + $now + "`n"))
    Invoke-Program git @('add', 'zipname')
}
Invoke-Program git @('commit', '-q', '-S', '-m', ('Sign ' + $item.Name))
Invoke-Program git @('push', '-q')
Invoke-Program git @('rev-parse', 'HEAD')
