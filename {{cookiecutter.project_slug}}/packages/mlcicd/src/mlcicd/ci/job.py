"""What the job of a CI is about, in the same words for each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """What a CI's environment says.

    Attributes
    ----------
    head : the commit that people know: the branch's own, where the CI checked out a merge of it
    target : the branch that it is to be merged into; empty where the default branch itself is built
    base : the commit to compare with, where the CI names it
    number : of the pull request; 0 where there is none
    fork : it comes from another repository
    image : where the project's image is pushed, without a tag; empty where the CI does not say
    """

    head: str
    target: str = ""
    base: str = ""
    number: int = 0
    fork: bool = False
    image: str = ""
