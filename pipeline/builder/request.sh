#!/bin/sh
# Requests the signature of a file with only scp, sha256sum and git, and prints the request's id. Run it in a clone of the
# control repository in which Git signs commits (git config gpg.format ssh; git config user.signingkey KEY):
#
#   EXCHANGE=build@build.example.org:exchange sh request.sh ../out/build.zip
set -eu
zip=${1:?which file?}
name=$(basename "$zip")

scp -q "$zip" "$EXCHANGE/incoming/$name"
git pull -q --ff-only
(cd "$(dirname "$zip")" && sha256sum "$name") > zipname
git add zipname
# The same bytes again: only a changed zipname is a request.
if git diff --cached --quiet; then
  echo "# again, $(date -u +%Y-%m-%dT%H:%M:%SZ)" >> zipname
  git add zipname
fi
git commit -q -S -m "Sign $name" && git push -q

# `signpipe wait ID`, or the trailer "Request:" in `git log origin/signed`, has the answer. To withdraw the request:
#   git commit -S --allow-empty -m "Cancel $name" --trailer "Cancel: ID" && git push
git rev-parse HEAD
