# zsh-completion.zsh FOLDER LINE...: types each line and a tab into an interactive zsh that completes from FOLDER; prints its screen.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='> '; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy"
zpty -r -m shell seen '*ready*> *'
for line in "${@:2}"; do
  zpty -w -n shell "$line"$'\t'
  # The line is complete when a comment after it has been echoed; the line is then dropped.
  zpty -w -n shell "#mark"
  zpty -r -m shell seen '*#mark*' && print -r -- "$seen"
  zpty -w -n shell $'\025'
done
zpty -d shell
