"""How gunicorn runs the service: the model is loaded once, then workers are forked from that process.

So it is ready earlier than workers that each import everything, a worker that died is back at once, and all share one
copy of the libraries. gunicorn reads the names below as its configuration (``--config python:…``).
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path


def cpus() -> int:
    """Return the cores this process may use: the container's limit where there is one."""
    limit = Path("/sys/fs/cgroup/cpu.max")  # cgroup 2: "150000 100000", or "max 100000"
    quota, _, period = limit.read_text().partition(" ") if limit.is_file() else ("max", "", "")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return there if quota.strip() == "max" else max(1, min(there, int(quota) // int(period)))


# A worker a core, at least two so that one may die, and one native thread in each. A model of 150 trees opens 150
# parallel regions a batch: with a thread a core in each of two workers a request of 6 ms was measured to take 560.
WORKERS = int(os.environ.get("ML_SERVICE_WORKERS", "0")) or max(2, min(cpus(), 8))
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy reads them; an operator's own value wins

if "gunicorn.arbiter" in sys.modules:
    gc.disable()  # a seventh of the start: imports make a million objects, none of them garbage; asgi() enables it

wsgi_app = f"{__name__.split('.')[0]}.service:asgi()"
worker_class = f"{__name__.rpartition('.')[0]}.http_limits.LimitedWorker"
workers = WORKERS
preload_app = True
graceful_timeout = 30  # seconds for requests in flight after SIGTERM
timeout = 60  # a worker whose event loop has not turned for so long is replaced
keepalive = 5
control_socket_disable = True  # nobody is to steer it from beside
