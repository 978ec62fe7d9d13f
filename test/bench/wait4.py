#!/usr/bin/env python3
"""wait4.py COMMAND...: runs a command, and writes one line of JSON to descriptor 3: wall time and CPU in seconds
(including all descendants that were waited for), the largest resident set of any of them in bytes, exit status."""
import json, os, subprocess, sys, time

start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
report = {
    "wall": wall,
    "cpu": usage.ru_utime + usage.ru_stime,
    "rss": usage.ru_maxrss * 1024,
    "status": os.waitstatus_to_exitcode(status),
}
os.write(3, (json.dumps(report) + "\n").encode())
