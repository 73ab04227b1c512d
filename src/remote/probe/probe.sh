# The factory probe. Its question, an argument or else stdin, is lines `home PATH`, `disk PATH`, `match AGENT TEXT`,
# `file AGENT REPO PATH`, `active AGENT REPO PATH`, `cron KEY TEXT`, `last`, `since YYYYMMDD`, `end`; it prints lines
# `key value`, last `end`. What cannot be read is not printed: a missing line is unknown, never 0.
# Shell builtins read /proc, since each process started costs as much as all of those reads. Words are lines throughout,
# and nothing is a pattern unless `set +f` says so.

# first KEY FILE: the first line of a file
first() {
  l=
  # A named pipe would be read for ever.
  [ -f "$2" ] && [ -r "$2" ] && { IFS= read -r l <"$2" || [ "$l" ]; } && printf '%s %s\n' "$1" "$l"
}

# By cat, since a shell that reads byte by byte (dash, BusyBox) gets one digit of a kernel's number. By one, if it finds
# all. `x` becomes another way each time to write `./`, by which the names that we give to head and tail are known.
kernel() {
  set -- $(cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/pid_max /proc/sys/kernel/random/uuid)
  [ $# -eq 3 ] || set -- "$(cat /proc/sys/kernel/random/boot_id)" "$(cat /proc/sys/kernel/pid_max)"
  boot=$1 l=$3 x=./
  while [ "$l" ] && [ ${#x} -lt 24 ]; do
    case $l in [0-7]*) x=$x/ ;; [!-]*) x=$x./ ;; esac
    l=${l#?}
  done
  [ "$1" ] && printf 'boot_id %s\n' "$1"
  [ "$2" ] && printf 'pid_max %s\n' "$2"
}

clock() {
  c=$(date +%s.%N)
  case ${c#*.} in '' | *[!0-9]*) c=${c%%.*} ;; esac
  printf '%s %s\n' "$1" "$c"
}

# together OPTION PATH...: df's lines of all paths by one call, raw, since mount points have spaces; none at all unless
# it ended well with one line a path, which come in the order of the paths. A dead mount answers KILL alone.
together() {
  o=$1
  shift
  l=$(timeout -s KILL 2 df "-P$o" -- "$@") || return
  p=$#
  set -- $l
  [ $# -eq $((p + 1)) ] || return
  shift
  i=0
  for l in "$@"; do
    printf 'df_%s %s %s\n' "$o" "$i" "$l"
    i=$((i + 1))
  done
}

# alone INDEX PATH OPTION...: the same of one path
alone() {
  i=$1 p=$2
  shift 2
  for o in "$@"; do
    l=$(timeout -s KILL 5 df "-P$o" -- "$p" | { IFS= read -r l && IFS= read -r l && printf '%s' "$l"; })
    [ "$l" ] || return
    printf 'df_%s %s %s\n' "$o" "$i" "$l"
  done
}

# usage PATH...: together, and where one path would cost the others their lines each alone, side by side. A dead mount
# then costs 2 s and 5 s, whatever else there is.
usage() {
  if ! together k "$@"; then
    rest=k${nl}i
  elif ! together i "$@"; then
    rest=i
  else
    return
  fi
  n=0
  for p in "$@"; do
    alone "$n" "$p" $rest &
    n=$((n + 1))
  done
  wait
}

# holds INDEX FILE: the lines of a halt file
holds() {
  [ -f "$2" ] && head -c 16384 "$2" | while IFS= read -r l || [ "$l" ]; do
    printf 'hold %s %s\n' "$1" "$l"
    l=
  done
}

probe() {
  LC_ALL=C
  PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  export LC_ALL PATH
  # These change what nproc and df say.
  unset OMP_NUM_THREADS OMP_THREAD_LIMIT POSIXLY_CORRECT BLOCK_SIZE BLOCKSIZE DF_BLOCK_SIZE CDPATH
  nl='
'
  IFS=$nl
  set -f
  home='' disks='' matches='' means='' crons='' last='' since='' asked='' asked_logs='' parts=''
  [ "$1" ] || set -- "$(cat)"
  for line in $1; do
    case $line in
    'home '*) home=${line#home } ;;
    'disk '*) disks=$disks${line#disk }$nl ;;
    'match '*) matches=$matches$line$nl ;;
    'file '* | 'active '*) means=$means$line$nl ;;
    last) last=1 ;;
    'since '*) since=${line#since } ;;
    'cron '*) crons=$crons${line#cron }$nl ;;
    'caps '* | 'log '* | 'follow '* | 'was '*) asked_logs=$asked_logs$line$nl ;;
    end)
      asked=1
      break
      ;;
    esac
  done
  # A banner may have left the line open.
  printf '\nbegin factory-probe 1\n'
  if [ ! "$asked" ]; then
    printf 'refused the question was cut off\n'
    return 65
  fi
  clock clock_start

  kernel
  first uptime /proc/uptime
  first loadavg /proc/loadavg
  first stat /proc/stat
  memory=
  [ -r /proc/meminfo ] && while IFS= read -r l; do
    case $l in
    MemTotal:* | MemAvailable:*)
      memory=x$memory
      printf 'meminfo %s\n' "$l"
      ;;
    SwapTotal:* | SwapFree:*) printf 'meminfo %s\n' "$l" ;;
    esac
  done </proc/meminfo
  [ "$memory" = xx ] || free -b | while IFS= read -r l; do printf 'free %s\n' "$l"; done
  [ -r /proc/vmstat ] && while IFS= read -r l; do
    case $l in 'oom_kill '* | 'pswpin '* | 'pgmajfault '* | allocstall*) printf 'vmstat %s\n' "$l" ;; esac
  done </proc/vmstat
  for f in cpu memory io; do
    [ -r "/proc/pressure/$f" ] && while IFS= read -r l; do printf 'psi_%s %s\n' "$f" "$l"; done <"/proc/pressure/$f"
  done
  c=$(nproc) && printf 'cores %s\n' "$c"

  # The home, if we can tell whether it is there: the nearest thing above it that exists must let us look.
  expand "$home"
  home=$at
  known=
  case $home in /*)
    printf 'home %s\n' "$home"
    while [ ! -e "$at" ] && [ ! -h "$at" ]; do
      at=${at%/*}
      at=${at:-/}
    done
    [ -d "$at" ] && [ -x "$at" ] && known=1
    ;;
  esac

  set -- /
  if [ "$disks" ]; then
    set --
    for p in $disks; do
      expand "$p"
      printf 'path %s %s\n' $# "$at"
      set -- "$@" "$at"
    done
  else
    printf 'path 0 /\n'
    case $home in /*)
      # A home that is not made yet will lie where the nearest directory above it does.
      printf 'path_home 1 %s\n' "$home"
      set -- / "$at"
      ;;
    esac
  fi
  usage "$@"
  living
  [ "$crons" ] && crontabs

  if [ "$known" ]; then
    first host_id "$home/host-id"
    first fleet "$home/fleet"
    first epoch "$home/epoch"
    i=0
    set +f
    set -- "$home"/halt/*
    set -f
    for f in "$@"; do
      [ -e "$f" ] || continue
      case ${f##*/} in *"$nl"*) continue ;; esac
      printf 'halt %s %s\n' "$i" "${f##*/}"
      holds "$i" "$f"
      i=$((i + 1))
    done
    for line in $means; do
      # `file AGENT REPO PATH` or `active AGENT REPO PATH`
      l=${line#* }
      l=${l#* }
      expand "${l#* }"
      case $line in
      'file '*)
        [ -e "$at" ] || continue
        printf 'own %s %s\n' "$i" "${line#file }"
        holds "$i" "$at"
        ;;
      *)
        l=shown
        [ -e "$at" ] || l=gone
        [ "$l" = shown ] || [ ! -e "$at.factory-held" ] || l=hidden
        printf 'active %s %s %s\n' "$i" "$l" "${line#active }"
        ;;
      esac
      i=$((i + 1))
    done
    if [ ! -e "$home/halt" ] || { [ -r "$home/halt" ] && [ -x "$home/halt" ]; }; then printf 'halts %s\n' "$i"; fi
    runs
  fi
  [ ! "$known" ] || [ ! "$asked_logs" ] || logs "$asked_logs"
  clock clock_end
  printf 'end\n'
  [ ! "$parts" ] || logs_send
}
