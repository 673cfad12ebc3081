"""The log of a service: one JSON object per line, without any value of a request."""

from __future__ import annotations

import json
import logging
import sys

LOG = logging.getLogger("ml.service")


class JsonLines(logging.Formatter):
    """Format log records as one JSON object per line, without any value of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; errors are reduced to type and location, since messages may contain values."""
        fields = {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            trace = record.exc_info[2]
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
            fields |= {"error": record.exc_info[0].__name__, "where": where}
        return json.dumps(fields | getattr(record, "fields", {}))


def log_as_json() -> None:
    """Log as JSON, for this service as well as BentoML, uvicorn and gunicorn."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in ("ml.service", "bentoml", "uvicorn", "gunicorn.error"):
        logger = logging.getLogger(name)
        logger.addFilter(_is_no_refusal)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel("WARNING" if name == "uvicorn" else "INFO")  # uvicorn logs each request again


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """BentoML logs a request that an endpoint refuses as an error of the endpoint; it has a line of its own."""
    return not (record.exc_info and record.exc_info[0] and record.exc_info[0].__name__ == "RefusedError")
