"""The descriptions say what there is, and the page that shows them asks nobody else."""

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import jsonschema
import msgspec
import pytest

from ssmd.gateway.description import OPERATIONS, asyncapi, llms_text, openapi
from ssmd.gateway.description.live import CLOSE_CODES
from ssmd.gateway.problems import STATUS
from tests.gateway.fakes import serving

PAGES = resources.files("ssmd.gateway") / "pages"
URL = re.compile(r"(?:https?:|wss?:)?//[a-z0-9.-]+\.[a-z]{2,}|@import|(?<![a-z])url\(", re.IGNORECASE)
COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)


def plain(document: object) -> dict:
    return msgspec.json.decode(msgspec.json.encode(document))


def references(value: object) -> set[str]:
    match value:
        case dict():
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(each) for each in value.values()))
        case list():
            return set().union(*(references(each) for each in value))
    return set()


def resolved(document: dict, reference: str) -> object:
    found: object = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


@pytest.mark.slow  # the meta-schema comes with a library that takes a second to load
def test_openapi_is_valid_by_its_own_meta_schema():
    from schemathesis.specs.openapi.definitions import OPENAPI_31  # noqa: PLC0415

    jsonschema.Draft202012Validator(OPENAPI_31).validate(plain(openapi()))


@pytest.mark.parametrize("document", [plain(openapi()), plain(asyncapi())], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere_and_every_shape_is_a_schema(document):
    assert [reference for reference in references(document) if resolved(document, reference) is None] == []
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_example_of_a_parameter_is_what_its_schema_allows():
    for operation in OPERATIONS:
        for parameter in operation.parameters:
            if parameter.example is not None:
                jsonschema.validate(parameter.example, plain(parameter.schema))


def test_every_operation_names_its_errors_by_codes_that_exist_and_needs_a_key_unless_it_is_open():
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert {code for operation in OPERATIONS for code in operation.errors} <= STATUS.keys()
    document = plain(openapi())
    for operation in OPERATIONS:
        written = document["paths"][operation.path][operation.method]
        assert (written.get("security") == []) is operation.is_open
        assert ("401" in written["responses"]) is not operation.is_open
        assert {each["name"] for each in written["parameters"]} >= set(re.findall(r"{(\w+)}", operation.path))


def test_every_problem_that_there_is_has_its_answer_described():
    responses = plain(openapi())["components"]["responses"]
    for code, status in STATUS.items():
        assert code in responses[str(status)]["description"]


def test_every_command_and_notice_of_the_websocket_is_described():
    document = plain(asyncapi())
    messages = document["channels"]["subscribe"]["messages"]
    assert {
        "Auth",
        "Subscribe",
        "Unsubscribe",
        "List",
        "Ping",
        "Welcome",
        "Subscribed",
        "Lag",
        "Gap",
        "Trade",
    } <= messages.keys()
    used = {message["$ref"] for operation in document["operations"].values() for message in operation["messages"]}
    assert used == {f"#/channels/subscribe/messages/{name}" for name in messages}
    assert all(str(code) in document["info"]["description"] for code in CLOSE_CODES)


def test_what_agents_read_names_only_paths_that_exist():
    paths = {operation.path for operation in OPERATIONS}
    named = {path for path, _ in re.findall(r"\]\((/[^)?]*)(\?[^)]*)?\)", llms_text())}
    assert named
    assert named <= paths
    assert "Do not interpolate" in llms_text()


# the page ----------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything in a page that makes a browser ask or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.targets += [
            named[name] or "" for name in ("src", "href", "action", "data", "srcset", "poster") if name in named
        ]
        self.inline += [name for name in named if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)


def test_the_page_names_no_other_host_and_has_no_inline_code():
    links = Links()
    links.feed((PAGES / "docs.html").read_text())
    assert links.inline == []
    assert {target for target in links.targets if not target.startswith("/") or target.startswith("//")} == {"data:,"}
    for name in ("docs.html", "page.js", "page.css"):
        text = COMMENT.sub("", (PAGES / name).read_text())
        assert URL.findall(text) == [], name


def test_an_absolute_url_would_be_found():
    for planted in ("https://cdn.example.org/x.js", "//cdn.example.org", "@import 'x'", "url(x)", "wss://example.com"):
        assert URL.search(planted)


async def test_the_page_and_all_that_it_loads_is_served_under_a_policy_that_allows_nothing_else():
    async with serving() as (_, client):
        page = await client.get("/docs")
        policy = dict(part.split(maxsplit=1) for part in page.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert {name: policy[name] for name in ("script-src", "style-src", "connect-src")} == dict.fromkeys(
            ("script-src", "style-src", "connect-src"), "'self'"
        )
        links = Links()
        links.feed(page.text)
        for target in links.targets:
            if target.startswith("/"):
                assert (await client.get(target)).status_code in {200, 503}, target
        assert (await client.get("/docs/page.js")).headers["content-type"].startswith("text/javascript")
        again = await client.get(
            "/openapi.json", headers={"If-None-Match": (await client.get("/openapi.json")).headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


def test_every_page_is_part_of_the_package():
    project = (Path(__file__).resolve().parents[3] / "pyproject.toml").read_text()
    assert '"ssmd.gateway" = ["pages/*"]' in project
