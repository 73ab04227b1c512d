# What is new in logs. Asked by lines `caps RUN HOST TURN` (how many bytes of a run and of all may be sent, and with which
# to begin), `only TOKEN`, `log TOKEN OUT ERR` (what is there already), `log TOKEN done`, `follow ID INODE OFFSET HEAD SEEN
# PATH` and `was` with the same, of what PATH was before; HEAD is `LENGTH:CHECKSUM` of the first bytes, SEEN those of earlier
# files, with commas. Told by lines
# `of TOKEN AGENT REPO`, `log TOKEN STREAM OFFSET LENGTH SIZE` and `followed ID INODE OFFSET LENGTH SIZE HEAD HOW`; the bytes come after `end`.
# No path stands in the arguments of a command: a probe that looks for a text of an agent would find it there.

# facts FILE: its size and inode, if it is a file that can be read
facts() {
  size='' inode=''
  [ -f "$1" ] && [ -r "$1" ] && l=$(stat -L -c '%s %i' /proc/self/fd/3 3<"$1") || return
  size=${l% *} inode=${l#* }
}

# head_of LENGTH FILE: the checksum of its first bytes, to `sum`
head_of() {
  sum=-
  [ "$1" -gt 0 ] || return 0
  sum=$(head -c "$1" <"$2" | sha256sum) && sum=$1:${sum%"${sum#????????????????}"}
}

# begins FILE: whether it begins with `head`
begins() {
  [ "$head" = - ] || { head_of "${head%:*}" "$1" && [ "$sum" = "$head" ]; }
}

# fit MOST: makes `len` fit. A shorter part than `least` is left for another time: it might hold nothing but the
# beginning of a secret, of which nothing is taken until its end is there.
fit() {
  l=$len
  [ "$len" -le "$1" ] || len=$1
  [ "$len" -le "$left" ] || len=$left
  [ "$len" -eq "$l" ] || [ "$len" -ge "$least" ] || len=0
  left=$((left - len)) told=$((told + 1))
}

# piece ID FILE INODE SIZE OFFSET HOW: fails unless it goes to the end of the file
piece() {
  len=$(($4 - $5))
  fit "$most"
  l=$(($5 + len))
  [ "$l" -le 256 ] || l=256
  head_of "$l" "$2"
  printf 'followed %s %s %s %s %s %s %s\n' "$1" "$3" "$5" "$len" "$4" "$sum" "$6"
  [ "$len" -eq 0 ] || file_parts=$file_parts"$3 $5 $len $sum $2"$nl
  [ $(($5 + len)) -eq "$4" ]
}

# renamed PATH: where the file with inode `want` lies now, to `where`, and in `later` those that were PATH after it
renamed() {
  where='' later=''
  set +f
  set -- "$1" "$1".old "$1".[0-9] "$1".[0-9][0-9] "$1"-*
  set -f
  base=$1
  shift
  for f in "$@"; do
    case $f in *.gz | *.xz | *.bz2 | *.zst) continue ;; esac
    if [ "$where" ]; then
      case $where$nl$f in "$base-"*"$nl$base-"*) later=$later$f$nl ;; esac
      continue
    fi
    facts "$f" && [ "$inode" = "$want" ] && [ "$size" -ge "$from" ] && begins "$f" || continue
    where=$f old_size=$size
    case $f in "$base".[0-9]*)
      k=${f##*.}
      k=${k#0}
      while [ "$k" -gt 1 ]; do
        k=$((k - 1))
        later=$later$base.$k$nl
      done
      ;;
    esac
  done
  [ "$where" ]
}

# unseen PATH: the file that PATH was last is there, to `where`, and was never looked at: it was renamed twice meanwhile
unseen() {
  where=''
  set +f
  for f in "$1"-* "$1".1 "$1".old; do
    set -f
    case $f in *.gz | *.xz | *.bz2 | *.zst) continue ;; esac
    [ ! -f "$f" ] || where=$f
  done
  set -f
  [ "$where" ] && facts "$where" && [ "$size" -gt 0 ] || return
  IFS=,
  for head in $head,$seen; do
    IFS=$nl
    [ "$head" = - ] || ! begins "$where" || return
  done
  IFS=$nl
}

logs_files() {
  n=0
  for line in $follows; do n=$((n + 1)); done
  most=$((left / n))
  [ "$most" -ge "$least" ] || most=$least
  [ "$most" -le "$run_cap" ] || most=$run_cap
  for line in $follows; do
    l=${line#* }
    id=${l%% *} l=${l#* }
    want=${l%% *} l=${l#* }
    from=${l%% *} l=${l#* }
    head=${l%% *} l=${l#* }
    seen=${l%% *}
    expand "${l#* }"
    case $line in was*)
      renamed "$at" && [ "$old_size" -gt "$from" ] && piece "$id" "$where" "$want" "$old_size" "$from" -
      continue
      ;;
    esac
    facts "$at"
    if [ "$want" = - ]; then
      [ ! "$inode" ] || piece "$id" "$at" "$inode" "$size" 0 new
    elif [ "$inode" = "$want" ]; then
      [ "$size" -ne "$from" ] || continue
      if [ "$size" -gt "$from" ] && begins "$at"; then
        piece "$id" "$at" "$inode" "$size" "$from" -
      else
        piece "$id" "$at" "$inode" "$size" 0 truncated
      fi
    else
      new=$inode new_size=$size
      if renamed "$at"; then
        [ "$old_size" -eq "$from" ] || piece "$id" "$where" "$want" "$old_size" "$from" - || continue
        for f in $later; do
          facts "$f" || continue
          piece "$id" "$f" "$inode" "$size" 0 rotated || continue 2
        done
      else
        unseen "$at" && { piece "$id" "$where" "$inode" "$size" 0 rotated || continue; }
      fi
      [ ! "$new" ] || piece "$id" "$at" "$new" "$new_size" 0 rotated
    fi
  done
}

# item STREAM FILE OFFSET MOST SIZE INODE: what a stream of `token` has beyond OFFSET, at most so much, to `got`
item() {
  got=0
  [ "$2" != /dev/null ] || return 0
  [ "$5" -le "$3" ] || got=$(($5 - $3))
  [ "$got" -le "$4" ] || got=$4
  [ "$got" -eq 0 ] || n=$((n + 1))
  news=$news"$token $1 $3 $got $5 $6 $2"$nl
}

# whose SPEC: which agent and repo `token` is of, by its spec
whose() {
  [ -f "$1" ] && [ -r "$1" ] || return
  agent='' repo=''
  while IFS=' ' read -r key l; do
    case $key in
    agent) agent=$l ;;
    repo) repo=$l ;;
    arg) break ;;
    esac
  done <"$1"
  [ ! "$agent" ] || [ ! "$repo" ] || printf 'of %s %s %s\n' "$token" "$agent" "$repo"
}

logs_runs() {
  news='' n=0
  set +f
  set -- "$home"/runs/*
  set -f
  for d in "$@"; do
    token=${d##*/}
    case $token in *[!A-Za-z0-9._-]*) continue ;; esac
    [ ! "$only" ] || [ "$token" = "$only" ] || continue
    case $finished in *" $token "*) continue ;; esac
    out=$d/out.log err=$d/err.log
    [ -f "$out" ] && [ -r "$out" ] || out=/dev/null
    [ -f "$err" ] && [ -r "$err" ] || err=/dev/null
    [ "$out$err" != /dev/null/dev/null ] || continue
    set -- $(stat -L -c '%s %i' /proc/self/fd/3 /proc/self/fd/4 3<"$out" 4<"$err")
    [ $# -eq 2 ] || continue
    from=
    for line in $cursors; do
      case $line in "log $token "*)
        from=${line#"log $token "}
        break
        ;;
      esac
    done
    [ "$from" ] || whose "$d/spec"
    from=${from:-0 0}
    item err "$err" "${from#* }" $((run_cap / 2)) "${2% *}" "${2#* }"
    item out "$out" "${from% *}" $((run_cap - got)) "${1% *}" "${1#* }"
  done
  share=$left
  [ "$n" -eq 0 ] || share=$((left / n))
  [ "$share" -ge "$least" ] || share=$least
  # Where there is too much for all, another one is the first each time.
  first=0
  [ "$n" -eq 0 ] || first=$((turn % n))
  for pass in 1 2; do
    i=0
    for line in $news; do
      token=${line%% *} l=${line#* }
      stream=${l%% *} l=${l#* }
      from=${l%% *} l=${l#* }
      len=${l%% *} l=${l#* }
      if [ "$len" -eq 0 ]; then
        [ "$pass" -eq 1 ] || continue
      else
        i=$((i + 1))
        if [ "$i" -gt "$first" ]; then k=1; else k=2; fi
        [ "$k" -eq "$pass" ] || continue
      fi
      line=$l
      fit "$share"
      printf 'log %s %s %s %s %s\n' "$token" "$stream" "$from" "$len" "${line%% *}"
      line=${line#* }
      [ "$len" -eq 0 ] || parts=$parts"${line%% *} $from $len - ${line#* }"$nl
    done
  done
}

# logs LINES: tells what is new, and keeps in `parts` where it lies
logs() {
  run_cap=0 host_cap=0 turn=0 only='' finished=' ' cursors='' follows='' parts='' file_parts='' told=0 least=65537
  for line in $1; do
    case $line in
    'caps '*)
      l=${line#caps }
      run_cap=${l%% *} l=${l#* }
      host_cap=${l%% *} turn=${l#* }
      ;;
    'only '*) only=${line#only } ;;
    'log '*' done')
      l=${line#log }
      finished=$finished${l% done}' '
      ;;
    'log '*) cursors=$cursors$line$nl ;;
    *) follows=$follows$line$nl ;;
    esac
  done
  k=$((host_cap / 4))
  left=$k
  [ ! "$follows" ] || logs_files
  left=$((host_cap - k + left))
  logs_runs
  parts=$parts$file_parts
  printf 'logs %s\n' "$told"
}

# sent: the bytes of a part from fd 8 and a sign: `+`, it is what was announced; `-`, its file was changed meanwhile. Whatever
# was done to the file, as many bytes come as were announced: else one log could pass for another.
sent() {
  {
    dd bs=65536 skip=$((from / 65536)) count=$(((from % 65536 + len + 65535) / 65536)) <&8 | tail -c "+$((from % 65536 + 1))"
    head -c "$len" /dev/zero
  } | head -c "$len"
  l=$(stat -L -c '%s %i' /proc/self/fd/8)
  if [ "${l#* }" = "$inode" ] && [ "${l% *}" -ge $((from + len)) ] && begins /proc/self/fd/8; then
    printf '+\n'
  else
    printf '%s\n' -
  fi
}

# logs_send: what was announced
logs_send() {
  for line in $parts; do
    inode=${line%% *} l=${line#* }
    from=${l%% *} l=${l#* }
    len=${l%% *} l=${l#* }
    head=${l%% *} l=${l#* }
    if [ -f "$l" ] && [ -r "$l" ]; then
      sent 8<"$l" && continue
    fi
    head -c "$len" /dev/zero
    printf '%s\n' -
  done
}
