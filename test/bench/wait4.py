#!/usr/bin/env python3
"""wait4.py COMMAND...: runs it, and writes to descriptor 3 one line of JSON: wall and CPU in seconds
(with all descendants that were waited for), the largest resident set of any of them in bytes, status."""
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
