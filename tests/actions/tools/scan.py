"""Stand-in for anchore/scan-action: the severities in a file take the place of a database of vulnerabilities."""

import os
import subprocess
import sys

from state import STANDIN

SEVERITIES = ["negligible", "low", "medium", "high", "critical"]
subprocess.run(["docker", "image", "inspect", os.environ["IMAGE"]], check=True, stdout=subprocess.DEVNULL)
listing = STANDIN / "vulnerabilities"
found = listing.read_text().split() if listing.exists() else []
threshold = SEVERITIES.index(os.environ["CUTOFF"])
severe = [severity for severity in found if SEVERITIES.index(severity) >= threshold]
if severe and os.environ["FAIL"] == "true":
    sys.exit(f"::error::Failed minimum severity level. Found vulnerabilities of severity: {', '.join(severe)}")
