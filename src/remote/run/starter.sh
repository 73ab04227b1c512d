# What becomes a run's command. Its input is this text with the job behind it, which sets `dir`, `practices` (1 if there are
# any), the positional parameters and the function `variables`, and then `begin "$@"`. Arguments: the run's directory, the home, the user's name, and 1
# if it is in a unit.
nl='
'
run=$1 home=$2 user=$3 unit=$4

say() {
  printf 'factory: %s\n' "$1" >&2
}

# search PROGRAM: 127 or 126 with a line that says why, if it cannot be started
search() {
  where=$PATH: code=127 why='it is not in PATH'
  case $1 in
  '')
    say 'the program has no name'
    return 127
    ;;
  */*)
    [ ! -x "$1" ] || [ -d "$1" ] || return 0
    why='it is not there'
    [ ! -e "$1" ] || code=126 why='it is not executable'
    where=
    ;;
  esac
  while [ "$where" ]; do
    at=${where%%:*}/$1
    where=${where#*:}
    [ ! -f "$at" ] || {
      [ ! -x "$at" ] || return 0
      code=126 why="$at is not executable"
    }
  done
  say "cannot start $1 in $PWD: $why${PATH:+ ($PATH)}"
  return "$code"
}

begin() {
  if [ "$unit" ]; then
    l='' at=-
    while IFS= read -r l; do
      case $l in 0::*/"factory-${run##*/}.scope") at=/sys/fs/cgroup${l#0::} ;; esac
    done </proc/self/cgroup
    # It tells that the unit was had; without it this is tried again outside of one.
    printf '%s\n' "$at" >"$run/cgroup" || {
      rm -f -- "$run/cgroup"
      exit 125
    }
  else
    # The kernel takes it before what the host needs.
    { echo 500 >/proc/self/oom_score_adj; } 2>/dev/null
  fi
  umask 022
  case $dir in '' | '~') dir=$HOME ;; '~/'*) dir=$HOME/${dir#??} ;; esac
  cd -- "$dir" 2>/dev/null || {
    code=127
    [ ! -e "$dir" ] || code=126
    say "cannot enter the working directory $dir"
    exit "$code"
  }
  unset OLDPWD
  PATH=$HOME/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  FACTORY_RUN=${run##*/} FACTORY_HOME=$home USER=$user LOGNAME=$user SHELL=/bin/sh LANG=C.UTF-8
  export PATH HOME FACTORY_RUN FACTORY_HOME USER LOGNAME SHELL LANG
  [ ! "$practices" ] || {
    FACTORY_PRACTICES=$run/practices.md
    export FACTORY_PRACTICES
  }
  variables
  (search "$1") || exit
  exec "$@" </dev/null
}
