#!/usr/bin/env bash
# What a release team would write today instead of a pipeline: one pass of a signer's loop with git, scp,
# unzip, osslsigncode and zip.
#   today.sh prepare   before each pass: clones if necessary, removes the files of the last job
#   today.sh           one pass, in which the fetch sees a new request
# Settings, in the environment:
#   WORK      folder for the clone and the job         CONTROL   ssh URL of the control repository
#   SSH_CONF  ssh_config with a host called `far`      BRANCH    its branch of requests
#   CERT KEY  PEM files for osslsigncode               EXCHANGE  folder of the exchange on that host
#   LIST      file with the paths to sign, one per line TSA      timestamp authority
#   PACK      full (unpack all, zip all) | zip-u (unpack ours, update in place) | zip-u-1 (with zip -1)
#   JOBS      osslsigncode processes at a time
# Writes "STAGE SECONDS" lines to $WORK/stages; to $WORK/used the seconds of CPU, the largest size of the job's
# folder, and the bytes sent and received over SSH. The cost of measuring is not included.
set -euo pipefail
job=$WORK/job; repo=$WORK/control; peak=0; used=0
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0
export GIT_SSH_COMMAND="$WORK/ssh -F $SSH_CONF"
export GIT_AUTHOR_NAME=today GIT_AUTHOR_EMAIL=today@example.org
export GIT_COMMITTER_NAME=today GIT_COMMITTER_EMAIL=today@example.org

# CPU of this shell and of its children, in ticks of 10 ms (man 5 proc).
ticks() { local -a stat; read -r -a stat < "/proc/$$/stat"; now=$((stat[13] + stat[14] + stat[15] + stat[16])); }
stage() {
  local step=$1 begun ended before size; shift
  ticks; before=$now; begun=$EPOCHREALTIME
  "$@"
  ended=$EPOCHREALTIME; ticks; used=$((used + now - before))
  awk -v n="$step" -v a="$begun" -v b="$ended" 'BEGIN { printf "%s %.3f\n", n, b - a }' >> "$WORK/stages"
  size=$(du -sb "$job" | cut -f1)
  [ "$size" -le "$peak" ] || peak=$size
}
fetch() {
  git -C "$repo" fetch -q origin "$BRANCH"
  git -C "$repo" reset -q --hard FETCH_HEAD
  name=$(awk '!/^#/ { sub(/!.*/, "", $2); print $2; exit }' "$repo/zipname")
}
download() { scp -S "$WORK/ssh" -F "$SSH_CONF" "far:$EXCHANGE/incoming/$name" "$job/in.zip"; }
unpack() {
  if [ "$PACK" = full ]; then unzip -q -o "$job/in.zip" -d "$job/tree"
  else xargs -d '\n' -a "$LIST" unzip -q -o "$job/in.zip" -d "$job/tree"; fi
}
sign_one() {
  osslsigncode sign -certs "$CERT" -key "$KEY" -h sha256 -n 'Sandbox product' -ts "$TSA" \
    -in "$1" -out "$1.signed" > /dev/null
  mv -f "$1.signed" "$1"
}
sign_all() {
  cd "$job/tree"
  if [ "$JOBS" = 1 ]; then while IFS= read -r f; do sign_one "$f" < /dev/null; done < "$LIST"
  else
    export -f sign_one; export CERT KEY TSA
    xargs -d '\n' -n 1 -P "$JOBS" -a "$LIST" bash -c 'set -e; sign_one "$1"' _
  fi
}
pack() {
  cd "$job/tree"
  case $PACK in
    full)    zip -q -X -r ../out.zip . ;;
    zip-u)   mv ../in.zip ../out.zip; zip -q -X -u ../out.zip -@ < "$LIST" ;;
    zip-u-1) mv ../in.zip ../out.zip; zip -q -X -1 -u ../out.zip -@ < "$LIST" ;;
  esac
}
hash() { cd "$job"; sha256sum out.zip > result; }
upload() { scp -S "$WORK/ssh" -F "$SSH_CONF" "$job/out.zip" "far:$EXCHANGE/today-$name"; }
push_result() {
  cd "$repo"; cp "$job/result" result
  git add result; git commit -q -m "signed $name"; git push -q -f origin HEAD:refs/heads/today
}
if [ "${1:-}" = prepare ]; then
  mkdir -p "$WORK"; rm -rf "$job"
  # An ssh that logs at its end how many bytes it transferred.
  printf '#!/bin/sh\nexec ssh -v -E "%s" "$@"\n' "$WORK/ssh.log" > "$WORK/ssh"; chmod +x "$WORK/ssh"
  [ -d "$repo" ] || git clone -q "$CONTROL" "$repo" 2> /dev/null
  exit
fi
mkdir -p "$job/tree"; : > "$WORK/stages"; : > "$WORK/ssh.log"
stage fetch fetch; stage download download; stage unpack unpack; stage sign sign_all
stage pack pack; stage hash hash; stage upload upload; stage push push_result
awk -v t="$used" -v p="$peak" '/^Transferred: sent/ { gsub(",", ""); s += $3; r += $5 }
  END { printf "%.2f %d %d %d\n", t / 100, p, s, r }' "$WORK/ssh.log" > "$WORK/used"
