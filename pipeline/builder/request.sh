#!/bin/sh
# Requests the signature of a file with only scp, sha256sum and git. Run it in a clone of the control repository in
# which Git signs commits (git config gpg.format ssh; git config user.signingkey KEY):
#
#   EXCHANGE=build@build.example.org:exchange sh request.sh ../out/build.zip
set -eu
zip=$1
name=$(basename "$zip")

scp "$zip" "$EXCHANGE/incoming/$name"
(cd "$(dirname "$zip")" && sha256sum "$name") > zipname
git add zipname && git commit -q -S -m "Sign $name" && git push -q

# The request's id: `signpipe wait`, or the trailer "Request:" in `git log origin/signed`, has the answer.
git rev-parse HEAD
