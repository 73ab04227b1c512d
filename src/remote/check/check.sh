# What a host lacks before agents can be supervised on it. Its argument is the home; changes nothing.
# Answers `key value` lines between `begin` and `end`; what cannot be found out is left out.
check() {
    LC_ALL=C
    PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
    export LC_ALL PATH
    home=$1
    case $home in
        '~') home=$HOME ;;
        '~/'*) home=$HOME/${home#'~/'} ;;
    esac

    echo begin factory-check 1
    echo "user $(id -un 2>/dev/null || id -u)"
    echo "uid $(id -u)"
    echo "clock $(date +%s)"
    total=$(sed -n 's/^MemTotal: *\([0-9][0-9]*\) kB$/\1/p' /proc/meminfo 2>/dev/null)
    [ -n "$total" ] && echo "mem_total_kib $total"
    printf 'home %s\n' "$home"
    for tool in flock setsid timeout crontab git; do
        if command -v $tool >/dev/null 2>&1; then echo "tool $tool yes"; else echo "tool $tool no"; fi
    done
    sum=no
    for tool in sha256sum shasum openssl; do
        command -v $tool >/dev/null 2>&1 && sum=yes && break
    done
    echo "tool sha256sum $sum"

    # Only the text tells an empty crontab from a refusal: both exit with 1.
    if command -v crontab >/dev/null 2>&1; then
        if table=$(timeout 10 crontab -l 2>&1 </dev/null); then
            echo "crontab ok"
        else
            printf 'crontab failed %s\n' "$(printf %s "$table" | tr '\n\r' '  ' | cut -c 1-200)"
        fi
    fi

    # The nearest directory that exists decides whether the home can be made.
    at=$home
    while [ ! -e "$at" ] && [ "$at" != / ] && [ -n "$at" ]; do
        case $at in
            */*) at=${at%/*} ;;
            *) at=. ;;
        esac
        [ -n "$at" ] || at=/
    done
    if [ -d "$home/halt" ]; then halt=$home/halt; else halt=$at; fi
    if [ -d "$halt" ] && [ -w "$halt" ] && [ -x "$halt" ]; then
        echo "halt writable"
    else
        printf 'halt refused %s\n' "$halt"
    fi
    type=$(timeout 5 stat -f -c %T "$at" 2>/dev/null) && [ -n "$type" ] && echo "home_fs $type"
    free=$(timeout 5 df -Pk "$at" 2>/dev/null | tail -n 1 | sed -n 's/.* \([0-9][0-9]*\)  *[0-9][0-9]*%.*/\1/p')
    [ -n "$free" ] && echo "home_free_kib $free"
    echo end
}
