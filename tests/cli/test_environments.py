"""`ssmd env create|list|show|validate|diff|schema`."""

import io
import json

import pytest
from ruamel.yaml import YAML

DESIGN_VALID = """\
✓ Feed 'kraken' configuration valid
✓ All symbol mappings resolve
✓ Storage buckets defined
✓ Entitlements reference valid clients
✓ No circular dependencies
Environment 'prod' is valid.
"""

DESIGN_BROKEN = """\
✗ Symbol 'XYZ/USD' not available on feed 'kraken'
✗ Client 'ghost-bot' referenced in entitlements but not defined
✗ Storage bucket 'ssmd-typo-raw' does not match naming convention
Environment 'broken' has 3 errors.
"""

BROKEN = """\
apiVersion: ssmd/v1
kind: Environment
metadata:
  name: broken
spec:
  feeds:
    kraken:
      symbols:
        - name: XYZ/USD
          internal: XYZUSD
          depth: l2
  entitlements:
    - client_id: ghost-bot
      feeds: [kraken]
      symbols: ["*"]
  storage:
    raw: {bucket: ssmd-typo-raw}
    normalized: {bucket: ssmd-broken-normalized}
"""


@pytest.fixture
def broken(project):
    project.file("broken").write_text(BROKEN)
    return project.file("broken")


def load_yaml(text):
    return YAML(typ="safe").load(io.StringIO(text))


# create ------------------------------------------------------------------------------------------------------


def test_a_new_environment_has_its_own_name_and_buckets_and_is_valid(ask, project):
    done = ask("env", "create", "lab", "--from-template", "prod")
    assert (done.code, done.out) == (0, "env/lab created in environments/lab.yaml from prod\n")
    assert done.err == "next: ssmd env validate lab\n"
    text = project.file("lab").read_text()
    assert "ssmd-lab-raw" in text
    assert "prod" not in text.split("spec:")[1]
    assert ask("env", "validate", "lab").code == 0


@pytest.mark.parametrize("template", ["minimal", "empty"])
def test_every_template_makes_a_valid_environment(ask, project, template):
    assert ask("env", "create", "x-1", "--from-template", template).code == 0
    assert ask("env", "validate", "x-1").code == 0


def test_in_an_empty_folder_the_schema_comes_along(ask, clean, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    assert ask("env", "create", "lab").code == 0
    assert json.loads((tmp_path / "new/environments/schema.json").read_text())["$schema"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("LAB",), "environment name is 'LAB'; allowed are a-z, 0-9 and -, at most 32"),
        (("../x",), "environment name is '../x'"),
        (("dev",), "environments/dev.yaml exists already"),
        (("dev", "--dry-run"), "environments/dev.yaml exists already"),
        (("lab", "--from-template", "minimel"), "there is no template 'minimel'; did you mean 'minimal'?"),
        (("lab", "--from-template", "./nosuch.yaml"), "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_created_is_two_and_nothing_is_written(ask, project, words, said):
    before = project.tree()
    done = ask("env", "create", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert project.tree() == before


def test_a_template_that_is_no_text_is_refused(ask, project):
    project.file("odd").write_bytes(b"\xff\xfe\x00")
    done = ask("env", "create", "lab", "--from-template", "odd")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: environments/lab.yaml:1:1: ")


def test_a_dry_run_prints_the_file_and_writes_nothing(ask, project):
    before = project.tree()
    done = ask("env", "create", "lab", "--dry-run")
    assert (done.code, load_yaml(done.out)["metadata"]) == (0, {"name": "lab"})
    assert project.tree() == before


def test_in_a_sub_folder_of_the_project_nothing_is_created(ask, repository, monkeypatch):
    monkeypatch.chdir(repository.folder / "k8s")
    for words in (("env", "create", "lab"), ("env", "schema", "--write"), ("feed", "enable", "kraken", "--env", "dev")):
        done = ask(*words)
        assert done.code == 2
        assert f"there is no environments here, but in {repository.folder}" in done.err
    assert not (repository.folder / "k8s/environments").exists()


# list and show -----------------------------------------------------------------------------------------------


def test_the_list_holds_ours_and_a_file_that_is_no_environment_does_not_break_it(ask, project, broken):
    project.file("odd.name").write_text("x")
    project.file("dangling").symlink_to("nosuch")
    done = ask("env", "list", "--output", "json")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert done.code == 0
    assert rows.keys() >= {"demo", "dev", "staging", "prod", "broken"}
    assert rows["dev"] == {
        "name": "dev",
        "feeds": ["kraken"],
        "symbols": 2,
        "clients": 1,
        "valid": True,
        "file": "environments/dev.yaml",
    }
    assert [name for name, row in sorted(rows.items()) if not row["valid"]] == ["broken", "dangling", "odd.name"]


def test_show_fills_in_the_defaults(ask, lab):
    shown = load_yaml(ask("env", "show", "lab").out)
    assert shown["spec"]["feeds"]["kraken"]["book_depth"] == 10
    assert json.loads(ask("env", "show", "lab", "-o", "json").out) == shown


# validate ----------------------------------------------------------------------------------------------------


def test_a_valid_environment_reads_as_in_the_design(ask, project):
    done = ask("env", "validate", "prod")
    assert (done.code, done.out) == (0, DESIGN_VALID)
    assert "note: names on kraken were checked against the bundled list of " in done.err


def test_a_broken_one_has_the_three_errors_of_the_design_word_for_word(ask, broken):
    done = ask("env", "validate", "broken")
    marked = [line for line in done.out.splitlines() if line.startswith(("✗", "Environment"))]
    assert done.code == 1
    assert sorted(marked) == sorted(DESIGN_BROKEN.splitlines())
    assert marked[-1] == DESIGN_BROKEN.splitlines()[-1]


def test_below_each_error_stand_its_place_and_a_way_out(ask, broken):
    out = ask("env", "validate", "environments/broken.yaml").out
    assert (
        "  --> environments/broken.yaml:9:17\n"
        "  |\n"
        "9 |         - name: XYZ/USD\n"
        "  |                 ^^^^^^^\n"
        "   allowed: a name in the bundled list of " in out
    )
    assert "   hint: write ssmd-broken-raw" in out


@pytest.mark.parametrize("option", ["--output", "--output-format", "-o"])
def test_machines_get_every_error_with_its_place(ask, broken, option):
    done = ask("env", "validate", "broken", option, "json")
    said = json.loads(done.out)
    assert (done.code, said["valid"], said["environment"]) == (1, False, "broken")
    places = {(each["line"], each["column"], each["path"]) for each in said["errors"]}
    assert (9, 17, "spec.feeds.kraken.symbols[0].name") in places
    assert len(said["errors"]) == 3
    assert said["instruments"]["kraken"].startswith("the bundled list of ")
    assert load_yaml(ask("env", "validate", "broken", option, "yaml").out) == said


def test_github_gets_annotations(ask, broken):
    done = ask("env", "validate", "broken", "--output", "github")
    lines = done.out.splitlines()
    assert done.code == 1
    assert len(lines) == 3
    assert lines[0].startswith("::error file=environments/broken.yaml,line=9,col=17,title=not_listed::Symbol 'XYZ/USD'")


def test_a_line_of_the_file_cannot_act_on_the_terminal(ask, project):
    project.file("odd").write_bytes(b"apiVersion: \x1b[31mred\n")
    done = ask("env", "validate", "odd")
    assert done.code == 1
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"\x00", b"a: b: c", b"- " * 100_000])
def test_whatever_the_file_holds_the_answer_is_one_or_more_errors(ask, project, content):
    project.file("odd").write_bytes(content)
    done = ask("env", "validate", "odd")
    assert done.code == 1
    assert done.out.startswith("✗ ")
    assert "Traceback" not in done.err


# diff and schema ---------------------------------------------------------------------------------------------


def test_the_same_meaning_is_zero_and_a_difference_is_one(ask, lab, project):
    twin = lab.read_text().replace("lab", "twin").replace("name: ETH/USD", "name: 'ETH/USD'  # a comment")
    project.file("twin").write_text(twin)
    done = ask("env", "diff", "lab", "twin")
    assert (done.code, done.out, done.err) == (0, "", "lab and twin mean the same\n")
    project.file("twin").write_text(twin.replace("depth: l1", "depth: l2"))
    done = ask("env", "diff", "lab", "twin", "--output", "json")
    assert done.code == 1
    assert json.loads(done.out) == [{"path": "feeds.kraken.symbols[ETH/USD].depth", "left": "l1", "right": "l2"}]


def test_what_cannot_be_compared_is_two(ask, lab, broken):
    assert ask("env", "diff", "lab", "broken").code == 2
    assert ask("env", "diff", "lab", "nosuch").code == 2


def test_the_schema_can_be_printed_and_written(ask, project):
    printed = ask("env", "schema")
    file = project.folder / "environments/schema.json"
    assert json.loads(printed.out)["$schema"]
    file.unlink()
    assert ask("env", "schema", "--write").code == 0
    assert file.read_text() == printed.out
