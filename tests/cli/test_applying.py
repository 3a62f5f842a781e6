"""`ssmd env apply`: the overlay and git. What it puts live: test_live_change.py."""

import os
import subprocess

import pytest

from ssmd.cli import git
from ssmd.cli.overlay import MARK
from ssmd.environment.load import load
from ssmd.environment.render import render
from ssmd.settings import DeploySettings

OVERLAY = "k8s/kustomize/overlays/lab"


def test_the_overlay_and_the_file_are_committed_and_nothing_else(ask, repository, lab):
    (repository.folder / "staged.txt").write_text("not mine")
    repository.file("dev").write_text(repository.file("dev").read_text() + "# theirs\n")
    repository.git("add", "staged.txt", "environments/dev.yaml")
    done = ask("env", "apply", "lab")
    assert done.code == 0, done.err
    assert done.out.startswith(f"env/lab is valid\noverlay {OVERLAY}: 9 files written\ngit: 10 files committed as ")
    committed = repository.committed()
    assert len(committed) == 10
    assert all(path == "environments/lab.yaml" or path.startswith(f"{OVERLAY}/") for path in committed)
    assert repository.git("diff", "--cached", "--name-only").split() == ["environments/dev.yaml", "staged.txt"]
    assert repository.git("log", "-1", "--format=%s") == "env: apply lab\n"


def test_a_second_time_there_is_nothing_to_do(ask, repository, lab):
    assert ask("env", "apply", "lab").code == 0
    head = repository.git("rev-parse", "HEAD")
    done = ask("env", "apply", "lab")
    assert done.out == f"env/lab is valid\noverlay {OVERLAY}: 0 files written\ngit: nothing to commit\n"
    assert repository.git("rev-parse", "HEAD") == head


def test_a_feed_that_is_gone_leaves_no_file(ask, repository, lab):
    stale = repository.folder / OVERLAY / "feeds/old/connector.yaml"
    stale.parent.mkdir(parents=True)
    stale.write_text(MARK.format("lab") + "…\n")
    assert ask("env", "apply", "lab").code == 0
    assert not stale.parent.exists()


def test_every_file_of_an_overlay_begins_with_the_mark_that_makes_it_ours(lab):
    files = render(load("lab"), DeploySettings())
    assert all(text.startswith(MARK.format("lab")) for text in files.values())


@pytest.mark.parametrize("out", [".", "environments", "k8s/kustomize/overlays/prod", OVERLAY, "linked"])
def test_a_file_of_somebody_else_is_neither_deleted_nor_overwritten(ask, repository, lab, out):
    ours = repository.folder / OVERLAY
    ours.mkdir(parents=True)
    (ours / "kustomization.yaml").write_text("by: hand\n")
    (repository.folder / "linked").symlink_to("environments")
    before = repository.tree()
    done = ask("env", "apply", "lab", "--out", out)
    assert (done.code, done.out) == (2, "")
    assert "was not made by `ssmd env apply lab` and would be" in done.err
    assert repository.tree() == before
    assert (repository.folder / ".git").is_dir()


def test_out_writes_elsewhere_and_commits_nothing(ask, repository, lab, tmp_path):
    done = ask("env", "apply", "lab", "--out", str(tmp_path / "out"))
    assert (done.code, done.out) == (0, f"env/lab is valid\noverlay {tmp_path / 'out'}: 9 files written\n")
    assert (tmp_path / "out/kustomization.yaml").exists()
    assert not (repository.folder / OVERLAY).exists()


def test_no_commit_writes_the_overlay_only_and_needs_no_git(ask, project, lab, monkeypatch):
    monkeypatch.setenv("PATH", "/nosuch")
    done = ask("env", "apply", "lab", "--no-commit")
    assert (done.code, done.out) == (0, f"env/lab is valid\noverlay {OVERLAY}: 9 files written\n")
    done = ask("env", "apply", "lab")
    assert (done.code, done.out) == (2, "")
    assert "git is not installed; --no-commit does without it" in done.err


@pytest.mark.parametrize("more", [(), ("--no-commit",), ("--out", "elsewhere")])
def test_a_dry_run_writes_nothing_at_all(ask, repository, lab, more):
    before, head = repository.tree(), repository.git("status", "--porcelain")
    done = ask("env", "apply", "lab", "--dry-run", *more)
    assert done.code == 0
    assert "+++ b/" in done.out
    assert ("and commit" in done.err) == (not more)
    assert (repository.tree(), repository.git("status", "--porcelain")) == (before, head)


def test_an_invalid_environment_is_one_with_every_error_and_nothing_is_written(ask, repository, lab):
    lab.write_text(lab.read_text().replace("ssmd-lab-raw", "ssmd-typo-raw").replace("BTC/USD", "XYZ/USD"))
    before = repository.tree()
    done = ask("env", "apply", "lab")
    assert done.code == 1
    assert "Environment 'lab' has 2 errors." in done.out
    assert repository.tree() == before


# git that cannot ---------------------------------------------------------------------------------------------


def no_repository(project):
    subprocess.run(("rm", "-rf", ".git"), check=True)
    return "lies in no git repository; --no-commit writes the overlay only"


def no_identity(project):
    project.git("config", "--unset", "user.email")
    project.git("config", "user.useConfigOnly", "true")
    return "git var failed: "


def in_a_merge(project):
    (project.folder / ".git/MERGE_HEAD").write_text(project.git("rev-parse", "HEAD"))
    return "git is in the middle of something (MERGE_HEAD in "


def overlays_elsewhere(project):
    (project.folder / "k8s/kustomize/overlays").rename(project.folder.parent / "overlays")
    (project.folder / "k8s/kustomize/overlays").symlink_to(project.folder.parent / "overlays")
    return "lies outside of the git repository"


def nobody_s(project):
    (project.folder / ".git/config").write_text("[core\n")
    return "git does not work with environments: "


@pytest.mark.parametrize("breaks", [no_repository, no_identity, in_a_merge, overlays_elsewhere, nobody_s])
def test_where_no_commit_is_possible_nothing_is_written(ask, repository, lab, breaks):
    said = breaks(repository)
    before = repository.tree()
    done = ask("env", "apply", "lab")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert repository.tree() == before


def test_a_hook_that_refuses_is_one_and_its_words_are_shown(ask, repository, lab):
    hook = repository.folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not on a friday' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = ask("env", "apply", "lab")
    assert done.code == 1
    assert "error: git commit failed: not on a friday; the overlay is written, try again or commit it" in done.err


def test_a_detached_head_is_said_and_cannot_be_pushed(ask, repository, lab):
    repository.git("checkout", "--quiet", "--detach")
    done = ask("env", "apply", "lab", "--push")
    assert (done.code, done.out) == (2, "")
    done = ask("env", "apply", "lab")
    assert done.code == 0
    assert "! git is on no branch (detached HEAD): `git switch -c NAME` keeps the commit" in done.err


def test_a_project_in_a_sub_folder_and_a_second_worktree_commit_their_own_files(ask, repository, lab, monkeypatch):
    repository.git("worktree", "add", "--quiet", "-b", "other", "tree")
    monkeypatch.chdir(repository.folder / "tree")
    assert ask("env", "create", "lab").code == 0
    assert ask("env", "apply", "lab").code == 0
    assert repository.git("log", "-1", "--format=%s", "other") == "env: apply lab\n"
    assert repository.git("log", "-1", "--format=%s", "main") == "begin\n"


# push --------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(repository, tmp_path):
    repository.git("init", "--quiet", "--bare", str(tmp_path / "remote"))
    repository.git("remote", "add", "origin", str(tmp_path / "remote"))
    repository.git("push", "--quiet", "--set-upstream", "origin", "main")
    return tmp_path / "remote"


def test_push_brings_the_commit_to_the_remote(ask, repository, lab, remote):
    assert ask("env", "apply", "lab").code == 0
    assert "nothing to commit; 1 commit not pushed" in ask("env", "status", "lab").out
    done = ask("env", "apply", "lab", "--push")
    assert (done.code, done.out.splitlines()[-1]) == (0, "git: pushed")
    assert repository.git("--git-dir", str(remote), "log", "-1", "--format=%s", "main") == "env: apply lab\n"
    assert "nothing to commit; pushed" in ask("env", "status", "lab").out


def test_a_remote_that_cannot_be_reached_is_five_and_the_commit_stays(ask, repository, lab, remote):
    remote.rename(remote.parent / "away")
    done = ask("env", "apply", "lab", "--push")
    assert done.code == 5
    assert "error: git push failed: " in done.err
    assert "what was committed stays, push it later" in done.err
    assert repository.git("log", "-1", "--format=%s") == "env: apply lab\n"


def test_to_push_what_is_not_committed_is_wrong_usage(ask, repository, lab):
    for option in (("--no-commit",), ("--out", "x")):
        done = ask("env", "apply", "lab", "--push", *option)
        assert (done.code, done.out) == (2, "")
        assert "--push needs a commit" in done.err


def test_a_git_that_hangs_is_an_outage(repository, monkeypatch, tmp_path):
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 9\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "WITHIN_S", 0.1)
    with pytest.raises(git.GitDown, match=r"git rev-parse did not end within 0\.1 s"):
        git.repository(repository.folder)
