"""gunicorn's configuration (``--config python:…``): the model is loaded once, then workers are forked.

Compared with workers that each import everything, the service is ready earlier, a worker that died is replaced at once,
and all workers share one copy of the libraries.
"""

from __future__ import annotations

import gc
import os
import sys

from mlcicd.core import project

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy is imported; values that are set already win

if "gunicorn.arbiter" in sys.modules:
    gc.disable()  # saves a seventh of the start, in which there is no garbage; `preloaded` enables it

from joblib import cpu_count  # noqa: E402 - imports numpy

# One worker per core, at least two so that one may die, and one native thread in each. A model of 150 trees opens 150
# parallel regions per batch: with two workers of two threads each on two cores, a request of 6 ms took 560 ms.
WORKERS = int(os.environ.get("ML_SERVICE_WORKERS", "0")) or max(2, min(cpu_count(), 8))

wsgi_app = f"{project.package_name()}.service:asgi()"
worker_class = "mlcicd.serving.http_limits.LimitedWorker"
workers = WORKERS
preload_app = True
graceful_timeout = 30  # seconds for requests in flight after SIGTERM
timeout = 60  # seconds until a worker with a blocked event loop is replaced
keepalive = 5
control_socket_disable = True  # no control from outside
