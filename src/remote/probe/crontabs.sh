# crontabs: by key, how many lines of crontabs start the agent, and how many are held; nothing if one cannot be read.
# The guard decides which lines these are; here it is counted by the same rules.
crontabs() {
  table='' crontab=''
  # By its path: some BusyBox starts its own in the place of any other.
  IFS=:
  for d in $PATH; do
    [ "$crontab" ] || [ ! -f "$d/crontab" ] || [ ! -x "$d/crontab" ] || crontab=$d/crontab
  done
  IFS=$nl
  if [ "$crontab" ]; then
    # All lines, also comments at the top. Only the text tells that there is none.
    CRONTAB_NOHEADER=N
    export CRONTAB_NOHEADER
    table=$(timeout -s KILL 5 "$crontab" -l </dev/null) || case $(timeout -s KILL 5 "$crontab" -l 2>&1 </dev/null) in
    'no crontab for '* | *"can't open "*'No such file'*) table= ;;
    *) return ;;
    esac
  fi
  set --
  if [ "$(id -u)" = 0 ]; then
    set +f
    for f in /etc/cron.d/factory-*; do
      case ${f##*/} in *[!A-Za-z0-9_-]*) continue ;; esac
      [ -f "$f" ] && set -- "$@" "$f"
    done
    set -f
  fi
  printf '%s\n%s\n' "$crons" "$table" | awk '
    function is_job(l) {
      if (l ~ /^[ \t]*("[^"]*"|\047[^\047]*\047|[^ \t=]+)[ \t]*=/) return 0
      if (l ~ /^[ \t]*@[a-z0-9_]+([ \t]|$)/) return 1
      n3 = "[0-9*][^ \t]*[ \t]+"; n3 = "^[ \t]*-?" n3 n3 n3
      return tolower(l) ~ n3 "([0-9*]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[^ \t]*[ \t]+([0-9*]|sun|mon|tue|wed|thu|fri|sat)"
    }
    function look(l,   i, k) {
      if (match(l, /^#factory:[A-Za-z0-9._@:-]+# /)) {
        if (is_job(substr(l, RLENGTH + 1))) { k = substr(l, 10, RLENGTH - 11); held[k]++; live[k] += 0 }
      } else if (is_job(l)) {
        for (i = 1; i <= n; i++) if (index(l, text[i]) && seen[key[i]] != NR) { live[key[i]]++; seen[key[i]] = NR }
      }
    }
    function outside(   i) { for (i = 1; i <= m; i++) look(inside[i]); m = 0; fleet = "" }
    FNR == 1 { outside() }
    !asked && $0 == "" { asked = 1; next }
    !asked { i = index($0, " "); key[++n] = k = substr($0, 1, i - 1); text[n] = substr($0, i + 1); live[k] += 0; next }
    { f = $0; sub(/[ \t\r\f]+$/, "", f) }
    f ~ /^# BEGIN factory [A-Za-z0-9._-]+$/ { outside(); fleet = substr(f, 17); next }
    f ~ /^# END factory [A-Za-z0-9._-]+$/ { if (fleet == substr(f, 15)) m = 0; outside(); next }
    fleet != "" { inside[++m] = $0; next }
    { look($0) }
    END { outside(); for (k in live) print "cron", live[k], held[k] + 0, k }' - "$@"
}
