"""The few things that `ssmd env apply` and `status` want from git."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ssmd.errors import ConfigError, Outage, SsmdError
from ssmd.settings import environment_variables

WITHIN_S: Final = 60.0


class GitDown(Outage):
    """The remote repository cannot be reached or refuses what is pushed."""


class CommitRefused(SsmdError):
    """Git makes no commit, for example because a hook is against it."""


def repository(path: Path) -> Path | None:
    """Return the root of the repository that a path lies in, None outside of one. Raises ConfigError with git's words."""
    done = _git(_folder(path), "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Path(done.stdout.removesuffix("\n"))
    if "not a git repository" in done.stderr:
        return None
    raise ConfigError(f"git does not work with {_folder(path)}: {_said(done)}")


def check_can_commit(paths: Sequence[Path], *, push: bool) -> None:
    """Raise ConfigError where a commit of these paths is not possible now, before anything is written for it."""
    root = repository(paths[0])
    if root is None:
        raise ConfigError(f"{paths[0]} lies in no git repository; --no-commit writes the overlay only")
    for path in paths:
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"{path} lies outside of the git repository {root}; --no-commit writes the overlay only")
    folder = _folder(paths[0])
    _checked(folder, "var", "GIT_COMMITTER_IDENT")
    for state in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"):
        if _git(folder, "rev-parse", "--quiet", "--verify", state).returncode == 0:
            raise ConfigError(f"git is in the middle of something ({state} in {root}); finish it first, or --no-commit")
    if push and is_detached(paths[0]):
        raise ConfigError("git is on no branch (detached HEAD), so --push has nothing to push; `git switch` to one")


def is_detached(path: Path) -> bool:
    return _git(_folder(path), "symbolic-ref", "--quiet", "HEAD").returncode != 0


def committed(path: Path) -> bytes | None:
    """Return a file as it was committed last; None where it never was, or where there is no git."""
    try:
        done = _git(_folder(path), "show", f"HEAD:./{path.name}")
    except ConfigError:
        return None
    return done.stdout.encode() if done.returncode == 0 else None


def uncommitted(paths: Sequence[Path]) -> list[str]:
    """Return the files below these paths that differ from the last commit: new ones too, also those that git ignores."""
    existing = [str(path.resolve()) for path in paths if path.exists()]
    words = ("status", "--porcelain", "--untracked-files=all", "--ignored")
    done = _checked(_folder(paths[0]), *words, "--", *existing)
    return [line[3:] for line in done.splitlines()]


def commit(paths: Sequence[Path], message: str) -> str:
    """Commit these paths and nothing else, whatever else is staged; return the short id of the commit.

    Raises CommitRefused with git's words.
    """
    folder = _folder(paths[0])
    names = [str(path.resolve()) for path in paths]
    for words in (("add", "--all"), ("commit", "--quiet", "--message", message)):
        done = _git(folder, *words, "--", *names)
        if done.returncode != 0:
            raise CommitRefused(f"git {words[0]} failed: {_said(done)}; the overlay is written, try again or commit it")
    return _checked(folder, "rev-parse", "--short", "HEAD").strip()


def unpushed(path: Path) -> int | None:
    """Return how many commits the remote lacks; None where the branch follows none."""
    done = _git(_folder(path), "rev-list", "--count", "@{upstream}..HEAD")
    return int(done.stdout) if done.returncode == 0 else None


def push(path: Path) -> None:
    """Push the branch. Raises GitDown with git's own words."""
    done = _git(_folder(path), "push", "--quiet")
    if done.returncode != 0:
        raise GitDown(f"git push failed: {_said(done)}; what was committed stays, push it later")


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _checked(folder: Path, *words: str) -> str:
    done = _git(folder, *words)
    if done.returncode != 0:
        raise ConfigError(f"git {words[0]} failed: {_said(done)}")
    return done.stdout


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return " ".join((done.stderr or done.stdout).split())[:300]


def _git(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603  # our own words, no shell
            ["git", "--literal-pathspecs", "-C", str(folder), *words],  # noqa: S607  # the user's git
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**environment_variables(), "LC_ALL": "C.UTF-8", "LANGUAGE": ""},  # we read what it says
            timeout=WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise ConfigError("git is not installed; --no-commit does without it") from error
    except subprocess.TimeoutExpired as error:
        raise GitDown(f"git {words[0]} did not end within {WITHIN_S:g} s") from error
