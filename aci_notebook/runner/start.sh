#!/bin/sh
# Finds an interpreter for the runner inside somebody's image: `/bin/sh start.sh STATE`.
# POSIX sh, no other program is needed. Siblings are found beside this file, wherever it is mounted; nothing in that
# folder has to be executable or writable. Python 3.8 or newer gives the whole runner, anything else runner.sh.

state=$1
here=${0%/*}
[ "$here" = "$0" ] && here=.

if [ ! -d "$state" ] || [ ! -w "$state" ]; then
    # Without a state folder a restart in place could run the job twice: say so and do not start.
    echo '     1# start run= attempt=1 runner=1'
    echo '     2# warn text='"'the state folder is missing or not writable: nothing was started'"
    echo '     3# end exit=126 outcome=failed lines=0 bytes=0 frames=3'
    exit 126
fi

for python in python3 python /usr/local/bin/python3 /usr/bin/python3 /opt/conda/bin/python; do
    command -v "$python" >/dev/null 2>&1 || continue
    # -I -S: neither PYTHONPATH, site-packages nor a file beside the job may shadow or delay the runner's modules.
    # The job itself runs without them.
    if "$python" -I -S -c 'import sys, zlib; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1; then
        exec "$python" -I -S -u "$here/runner.py" "$state"
    fi
done

exec /bin/sh "$here/runner.sh" "$state"
