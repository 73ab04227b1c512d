# The factory probe. Its question is of logs alone: lines `home PATH`, those of `logs`, `end`. It tells the states of the
# runs first, then their logs: what has ended when its log is looked at writes no more.
follow() {
  LC_ALL=C
  PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  export LC_ALL PATH
  nl='
'
  IFS=$nl
  set -f
  home='' asked='' asked_logs='' only='' finished=' ' parts=''
  [ "$1" ] || set -- "$(cat)"
  for line in $1; do
    case $line in
    'home '*) home=${line#home } ;;
    end)
      asked=1
      break
      ;;
    *)
      asked_logs=$asked_logs$line$nl
      case $line in
      'only '*) only=${line#only } ;;
      'log '*' done')
        l=${line#log }
        finished=$finished${l% done}' '
        ;;
      esac
      ;;
    esac
  done
  printf '\nbegin factory-probe 1\n'
  if [ ! "$asked" ]; then
    printf 'refused the question was cut off\n'
    return 65
  fi
  boot=$(cat /proc/sys/kernel/random/boot_id)
  expand "$home"
  home=$at
  if [ ! -e "$home/runs" ] || { [ -r "$home/runs" ] && [ -x "$home/runs" ]; }; then
    i=0
    set +f
    set -- "$home"/runs/*
    set -f
    for d in "$@"; do
      [ -d "$d" ] || continue
      token=${d##*/}
      case $token in *[!A-Za-z0-9._-]*) continue ;; esac
      [ ! "$only" ] || [ "$token" = "$only" ] || continue
      case $finished in *" $token "*) continue ;; esac
      state "$d"
      printf 'run %s %s\n' "$token" "$s"
      i=$((i + 1))
    done
    printf 'runs %s\n' "$i"
    logs "$asked_logs"
  fi
  printf 'end\n'
  [ ! "$parts" ] || logs_send
}
