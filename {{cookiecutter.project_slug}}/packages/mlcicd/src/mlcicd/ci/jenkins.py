"""Jenkins, as a multibranch pipeline's environment describes a job."""

from __future__ import annotations

from collections.abc import Mapping

from mlcicd.ci.job import Job

VARIABLE = "JENKINS_URL"


def job(env: Mapping[str, str]) -> Job:
    """Read a job's environment. Jenkins names no base: git knows where the change left its target."""
    number = env.get("CHANGE_ID", "")
    main = not number and env.get("BRANCH_NAME", "main") == "main"
    return Job(
        head=env.get("GIT_COMMIT", ""),
        target="" if main else env.get("CHANGE_TARGET", "main"),
        number=int(number) if number.isdecimal() else 0,
        fork=bool(env.get("CHANGE_FORK")),
        # Jenkins knows of no registry: the Jenkinsfile names the image.
        image=env.get("ML_IMAGE", ""),
    )


def line(name: str, value: str) -> str:
    """Spell an output as a line of a properties file, which `readProperties` reads."""
    return f"ML_{name.upper()}={value}"
