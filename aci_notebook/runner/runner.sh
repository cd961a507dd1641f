#!/bin/sh
# The runner for images without Python: `sh runner.sh STATE`, POSIX sh (dash, busybox ash, bash).
#
# It prints the same frames as runner.py, whose essay explains them: `NUMBER MARK PAYLOAD`, `#` house lines, `|` text,
# `+` text without a newline, and the closing frame. What a shell cannot do well is left out and said so: no Python
# bodies, no requirements, no objects going home, no pacing, no `alive`, no escapes (NUL bytes are dropped, a line with carriage
# returns is shown as its last look). Secrets are masked line by line. Programs used: date, cat, cp, chmod, mkfifo, rm,
# sleep, wc, and setsid, tail, grep, fold where they exist.
#
# Commands are substituted with backquotes only: bash 5.2, which is sh in many images, loses a signal whose trap comes
# due while it reads a $(...), and the substitution with it.
#
# A reader numbers the lines that come through a fifo, appends them to STATE/spool and prints them. Every line of the
# spool is one frame, so the next number is the count of its lines plus one, also after a restart in place. It reads to
# the end of the fifo, however long that takes, or to a last word, where somebody who outlives the job holds the fifo.

state=$1
here=${0%/*}
[ "$here" = "$0" ] && here=.
cr=`printf '\r'`
began=`date +%s`

JOB_RUN='' JOB_LANGUAGE=argv JOB_ARGC=0 JOB_TIMEOUT_S=86400 JOB_START_BY='' JOB_RETRIES=0 JOB_LINGER_S=600
JOB_MASK='' JOB_REQUIREMENTS='' JOB_OUTPUTS='' JOB_PATHS=''
. "$here/job.env"

whole() { # the integer part of a number; 0 if there is none
    number=${1%%.*}
    case $number in '' | *[!0-9]*) number=0 ;; esac
    echo "$number"
}

next_number() { # sets number, of the frame that comes next
    number=`wc -l <"$state/spool"`
    number=$(($number + 1))
}

frame() { # mark, payload: print a frame and keep it
    next_number
    printf '%6d%s %s\n' "$number" "$1" "$2" >>"$state/spool"
    printf '%6d%s %s\n' "$number" "$1" "$2"
}

house() { frame '#' "$*"; }

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

mask_line() { # replace every secret in $line
    for name in $JOB_MASK; do
        eval "secret=\${$name:-}"
        [ ${#secret} -ge 6 ] || continue
        masked=
        while :; do
            case $line in
            *"$secret"*)
                masked=$masked${line%%"$secret"*}'******'
                line=${line#*"$secret"}
                ;;
            *) break ;;
            esac
        done
        line=$masked$line
    done
}

piece() { # number, mark, text: print a frame of text and keep it
    printf '%6d%s %s\n' "$@" >&3
    printf '%6d%s %s\n' "$@"
}

pieces() { # number, mark of the last one, a long line: print it in pieces; sets number
    total=$(((${#3} + 3999) / 4000))
    printf '%s\n' "$3" | fold -b -w 4000 | while IFS= read -r part; do
        total=$((total - 1))
        if [ "$total" -gt 0 ]; then piece "$number" + "$part"; else piece "$number" "$2" "$part"; fi
        number=$((number + 1))
    done
    number=$((number + total))
}

number_lines() { # stdin → frames, in the spool and on stdout; tells its counts at the end
    LC_ALL=C fold=
    command -v fold >/dev/null 2>&1 && fold=1
    next_number
    lines=$1 bytes=$2 more=1
    exec 3>>"$state/spool"
    while [ -n "$more" ]; do
        mark='|'
        IFS= read -r line || { more='' mark='+'; [ -n "$line" ] || break; }
        case $line in
        *"$last_word")
            line=${line%"$last_word"} more='' mark='+'
            [ -n "$line" ] || break
            ;;
        esac
        [ -z "$JOB_MASK" ] || mask_line
        case $line in
        *"$cr"*)
            line=${line%"$cr"}
            line=${line##*"$cr"}
            ;;
        esac
        bytes=$((bytes + ${#line}))
        [ "$mark" = '+' ] || lines=$((lines + 1)) bytes=$((bytes + 1))
        if [ -n "$fold" ] && [ ${#line} -gt 4000 ]; then
            pieces "$number" "$mark" "$line"
        else
            piece "$number" "$mark" "$line"
            number=$((number + 1))
        fi
    done
    echo "$lines $bytes" >"$state/tally"
}

oom_kills() {
    while read -r word count; do
        if [ "$word" = oom_kill ]; then echo "$count"; return; fi
    done 2>/dev/null <"$1"
    echo 0
}

oom_file=/dev/null
for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$file" ] && oom_file=$file
done

linger() { # exit code: wait for the last reader
    pause=
    trap 'stopped=TERM; [ -z "$pause" ] || kill -KILL "$pause" 2>/dev/null' TERM INT HUP
    seconds=`whole "$JOB_LINGER_S"`
    case $JOB_LINGER_S in *.*[1-9]*) [ "$seconds" -gt 0 ] || seconds=1 ;; esac
    if [ -z "$stopped" ] && [ "$seconds" -gt 0 ]; then
        sleep "$seconds" >/dev/null 2>&1 &
        pause=$!
        [ -z "$stopped" ] || kill -KILL "$pause" 2>/dev/null # KILL: a child just begun may not hear the other yet
        wait "$pause" 2>/dev/null
        kill -KILL "$pause" 2>/dev/null
    fi
    exit "$1"
}

finish() { # outcome, exit code, further fields
    outcome=$1 code=$2
    shift 2
    lines='' bytes=''
    [ -r "$state/tally" ] && read -r lines bytes <"$state/tally"
    next_number
    line="end exit=$code${*:+ $*} outcome=$outcome lines=${lines:-0} bytes=${bytes:-0}"
    over=`date +%s`
    house "$line wall_s=$((over - began)) install_s=0 frames=$number"
    tail -n 1 "$state/spool" >"$state/end" 2>/dev/null || echo end >"$state/end"
    linger "$code"
}

signal_group() { # signal: to the group where the child leads one by now, else to the child alone
    { [ -n "$group" ] && kill "-$1" "-$child" 2>/dev/null; } || kill "-$1" "$child" 2>/dev/null
}

forward() { # the signal from outside to the child; insist after 5 s
    signal_group "$stopped"
    (sleep 5; signal_group KILL) >/dev/null 2>&1 &
    insister=$!
}

on_stop() { # a signal from outside; run_once forwards it if there is no child yet, nobody does if it has ended
    [ -z "$stopped" ] || return
    stopped=$1
    [ -z "$child" ] || forward
}

collect_tree() { # end what of a helper (a subshell that sleeps) is left
    [ -z "$1" ] || kill "$1" 2>/dev/null
}

run_once() { # run the command line once; sets code, and asked where a signal from outside came before its end
    rm -f "$state/pipe" "$state/timeout"
    mkfifo "$state/pipe" || { house "warn text='no fifo can be made in the state folder'"; code=126; return; }
    number_lines "$lines" "$bytes" <"$state/pipe" &
    reader=$!
    group=
    if command -v setsid >/dev/null 2>&1; then
        group=1
        setsid "$@" </dev/null >"$state/pipe" 2>&1 &
    else
        "$@" </dev/null >"$state/pipe" 2>&1 &
    fi
    child=$!
    left=`whole "$JOB_TIMEOUT_S"` over=`date +%s`
    left=$((left - over + began))
    [ "$left" -gt 0 ] || left=0
    (
        sleep "$left"
        : >"$state/timeout"
        signal_group TERM
        sleep 5
        signal_group KILL
    ) >/dev/null 2>&1 &
    watcher=$!
    [ -z "$stopped" ] || [ -n "$insister" ] || forward
    while :; do
        wait "$child" 2>/dev/null # which says on stderr of what it died
        code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    asked=$stopped leader=$child child=
    # The child's exit ends the job; who still holds the pipe has two seconds. What they wrote is read to its end.
    for pause in 0.1 0.1 0.3 0.5 1; do
        kill -0 "$reader" 2>/dev/null || break
        sleep "$pause" 2>/dev/null || sleep 1
    done
    kill "$watcher" 2>/dev/null
    teller=
    if kill -0 "$reader" 2>/dev/null; then
        [ -z "$group" ] || { kill -TERM "-$leader" && sleep 1; kill -KILL "-$leader"; } 2>/dev/null
        printf '%s\n' "$last_word" >"$state/pipe" &
        teller=$!
    elif [ -n "$group" ]; then
        kill -KILL "-$leader" 2>/dev/null
    fi
    while kill -0 "$reader" 2>/dev/null; do
        wait "$reader" 2>/dev/null
    done
    [ -z "$teller" ] || kill -KILL "$teller" 2>/dev/null
    collect_tree "$insister"
    rm -f "$state/pipe"
    if [ -r "$state/tally" ]; then
        read -r lines bytes <"$state/tally"
    fi
}

stopped='' asked='' child='' insister='' lines=0 bytes=0 last_word="end of $JOB_RUN, says $$"
trap 'on_stop TERM' TERM HUP
trap 'on_stop INT' INT

if [ -e "$state/started" ]; then # restarted in place: print what there is, do not run the job again
    [ -e "$state/spool" ] || : >"$state/spool"
    cat "$state/spool"
    cut=`tail -c 1 "$state/spool" 2>/dev/null`
    [ -z "$cut" ] || { echo >>"$state/spool"; echo; }
    if [ -e "$state/end" ] || grep -q '^ *[0-9]*# end ' "$state/spool" 2>/dev/null; then linger 0; fi
    lines=`grep -c '^ *[0-9]*[|!]' "$state/spool" 2>/dev/null`
    echo "${lines:-0} 0" >"$state/tally"
    house "again run=$JOB_RUN attempt=1 at=`now`"
    finish restarted 0
fi

: >"$state/spool"
rm -f "$state/tally"
case $JOB_START_BY in
'' | null | None | none) start_by= ;;
*) start_by=`whole "$JOB_START_BY"` ;;
esac
start="start run=$JOB_RUN attempt=1 runner=1 at=`now` shell=sh pid=$$"
if [ -n "$start_by" ] && [ "`date +%s`" -gt "$start_by" ]; then
    house "$start"
    : >"$state/started"
    finish late 75
fi
(set -C && echo "1 `date +%s`" >"$state/started") || { house "$start"; finish failed 126; }
sync 2>/dev/null
house "$start"

if [ "$JOB_LANGUAGE" = python ]; then
    house "warn text='this image has no Python 3.8 or newer: a Python cell cannot run in it'"
    finish no_interpreter 127
fi
if [ -n "$JOB_REQUIREMENTS" ]; then
    house "install line='this image has no Python 3.8 or newer: nothing can be installed'"
    finish install_failed 125
fi

set --
index=0
while [ "$index" -lt "$JOB_ARGC" ]; do
    eval "item=\${JOB_ARG_$index}"
    if [ "$item" = '{body}' ]; then
        cat "$here/body" >"$state/body" && chmod 700 "$state/body"
        item=$state/body
    fi
    set -- "$@" "$item"
    index=$((index + 1))
done
if [ $# -eq 0 ] || ! command -v "$1" >/dev/null 2>&1; then
    house "warn text='cannot start the program: it is not in this image'"
    finish no_interpreter 127
fi

attempt=1 retries=`whole "$JOB_RETRIES"`
while :; do
    house "phase name=run"
    kills=`oom_kills "$oom_file"`
    run_once "$@"
    [ -z "$asked" ] || finish terminated 143
    [ -e "$state/timeout" ] && finish timeout 124
    [ "$code" -eq 0 ] && break
    [ "$attempt" -le "$retries" ] && [ -z "$stopped" ] || break
    attempt=$((attempt + 1))
    house "retry attempt=$attempt after_exit=$code"
done
for name in $JOB_PATHS $JOB_OUTPUTS; do
    house "skip name=$name reason='this image has no Python: nothing can be brought home'"
done
[ "$code" -eq 0 ] && finish succeeded 0
if [ "$code" -eq 137 ]; then
    kills_now=`oom_kills "$oom_file"`
    [ "$kills_now" -le "$kills" ] || finish oom 137
fi
if [ "$code" -gt 128 ] && [ "$code" -lt 160 ]; then
    name=`kill -l "$((code - 128))" 2>/dev/null`
    finish signal "$code" "signal=SIG${name#SIG}"
fi
finish failed "$code"
