# about TOKEN DIRECTORY: what there is to tell of a run, without a process: a host may have hundreds. No key begins with
# `end`, else an answer that is cut in it would seem whole.
about() {
  n=0
  [ -f "$2/spec" ] && [ -r "$2/spec" ] && while [ $n -lt 12 ] && IFS= read -r l; do
    n=$((n + 1))
    case $l in
    'attempt '*) n=12 ;;
    'fleet '* | 'task '* | 'repo '* | 'agent '*) ;;
    *) continue ;;
    esac
    printf 'spec %s %s\n' "$1" "$l"
  done <"$2/spec"
  [ "$started" ] && printf 'started %s %s\n' "$1" "$started"
  [ -f "$2/rc" ] && [ -r "$2/rc" ] && { IFS= read -r l && IFS= read -r l && printf 'over %s %s\n' "$1" "$l"; } <"$2/rc"
  [ -f "$2/stop" ] && {
    l=
    IFS= read -r l <"$2/stop"
    printf 'stop %s %s\n' "$1" "$l"
  }
  group_of "$2"
  if [ "$group" ] && [ -r "$group/memory.events" ]; then
    while IFS= read -r l; do
      case $l in 'oom_kill '*) printf 'oom %s %s\n' "$1" "${l#* }" ;; esac
    done <"$group/memory.events"
  else
    kills "$1" "$2"
  fi
  for f in out.log err.log critical; do [ -f "$2/$f" ] && files=$files$1/$f$nl; done
  [ "$last" ] || return
  if [ -f "$2/err.log" ] && [ -s "$2/err.log" ] && { [ ! -s "$2/out.log" ] || [ "$2/err.log" -nt "$2/out.log" ]; }; then
    tails=$tails$x$1/err.log$nl
  elif [ -f "$2/out.log" ]; then
    tails=$tails$x$1/out.log$nl
  fi
}

# kills TOKEN DIRECTORY: what the wrapper counted, once the cgroup of the run is gone
kills() {
  [ -f "$2/oom" ] && [ -r "$2/oom" ] && IFS= read -r l <"$2/oom" && printf 'oom %s %s\n' "$1" "$l"
}

# lasts: the last line of each of `tails`, by one tail and one awk for all of them; as `tail` where it may have begun before
lasts() {
  (cd "$home/runs" && exec tail -c 1000 /dev/null $tails) | tr '\000' ' ' | awk -v x="$x" '
    function ends() {
      if (line != "") print (at == 1 && bytes >= 1000 ? "tail" : "last"), name, line
      line = ""
      lines = bytes = 0
    }
    BEGIN { heading = "==> " x; h = length(heading) }
    substr($0, 1, h) == heading && / <==$/ {
      ends()
      name = substr($0, h + 1, length($0) - h - 4)
      next
    }
    name != "" { lines++; bytes += length($0) + 1 }
    name != "" && /[^ \t\r]/ { line = $0; at = lines }
    END { ends() }'
}

# living: one look at all processes, for the runs that may have some and for what matches. It spares `state` its own.
living() {
  todo=
  set +f
  [ "$known" ] && set -- "$home"/runs/* || set --
  set -f
  for r in "$@"; do
    token=${r##*/}
    case $token in *[!A-Za-z0-9._-]*) continue ;; esac
    [ -d "$r" ] && [ ! -e "$r/empty" ] && [ -f "$r/started" ] && [ -r "$r/started" ] || continue
    l=
    IFS= read -r l <"$r/started"
    case $l in '' | cancelled | 'cancelled '*) continue ;; esac
    c=${l%% *} l=${l#* }
    p=${l%% *} l=${l#* }
    # What began before this boot has no session; whatever says that it is of the run is told all the same.
    case $c$p in *[!0-9]*) c=0 ;; esac
    [ "${l%% *}" = "$boot" ] || c=0
    todo="${todo}run $token $c $p$nl"
    group_of "$r"
    [ "$group" ] && [ -r "$group/cgroup.procs" ] && while IFS= read -r l; do todo="${todo}in $l $token$nl"; done <"$group/cgroup.procs"
  done
  [ "$todo$matches" ] || return
  l=$(account)
  # Whoever reads the answer knows no such key.
  [ "$l" ] && printf '%s\n' "$l"
  l=${l%%"$nl"*}
  case $l in 'pass '*' end') l=${l#pass } ;; *) return ;; esac
  passed=${l%% *}
  l=" ${l#* }"
  sessions=${l%%;*}
  tokens=${l#*;}
}

# group_of DIRECTORY: the cgroup of a run, if it has one, to `group`
group_of() {
  group=
  [ -f "$1/cgroup" ] && [ -r "$1/cgroup" ] && IFS= read -r group <"$1/cgroup"
  case $group in *..*) group= ;; /sys/fs/cgroup/*) ;; *) group= ;; esac
}

# runs: the state of every run, and more of those that may not be quite over, or are asked for by their day
runs() {
  i=0 files='' tails=''
  set +f
  set -- "$home"/runs/*
  set -f
  for r in "$@"; do
    token=${r##*/}
    [ -d "$r" ] || continue
    case $token in *[!A-Za-z0-9._-]*) continue ;; esac
    started=
    state "$r"
    printf 'run %s %s\n' "$token" "$s"
    i=$((i + 1))
    if [ -e "$r/empty" ]; then
      l=${token%%-*}
      case $l in '' | *[!0-9]*) l=0 ;; esac
      if [ ! "$since" ] || [ "$l" -lt "$since" ]; then
        # What it had in its own limits must not look like the host's.
        kills "$token" "$r"
        continue
      fi
    fi
    about "$token" "$r"
  done
  if [ ! -e "$home/runs" ] || { [ -r "$home/runs" ] && [ -x "$home/runs" ]; }; then printf 'runs %s\n' "$i"; fi
  [ "$files" ] && (cd "$home/runs" && exec stat -L -c 'file %s %Y %n' -- $files)
  [ "$tails" ] && lasts
}
