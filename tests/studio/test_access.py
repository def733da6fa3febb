"""Who is let in, and who is not: each refusal of docs/studio.md, over real sockets."""

from __future__ import annotations

import json
import stat

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

JSON = {"Content-Type": "application/json"}
CHECK = json.dumps({"settings": {}}).encode()


def test_the_token_becomes_a_cookie_and_leaves_the_address(studio) -> None:
    status, headers, _ = studio.raw("GET", f"/runs?a=1&token={studio.token}", {})
    assert (status, headers["location"]) == (303, "/runs?a=1")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {p.strip() for p in headers["set-cookie"].split(";")}
    status, headers, page = studio.raw("GET", "/runs", {"Cookie": studio.cookie})
    assert status == 200 and b"<!doctype html>" in page


@pytest.mark.parametrize("path", ["/", "/api/meta", "/api/runs", "/static/js/main.js", "/nowhere"])
@pytest.mark.parametrize("cookie", ["", "cllm=x", "{name}=wrong", "{name}="])
def test_nothing_is_shown_without_the_token(studio, path: str, cookie: str) -> None:
    name = studio.cookie.partition("=")[0]
    headers = {"Cookie": cookie.format(name=name)} if cookie else {}
    assert studio.raw("GET", path, headers)[0] == 401
    assert studio.raw("GET", f"{path}?token=wrong", headers)[0] == 401


def test_odd_cookies_of_other_programs_do_not_hide_ours(studio) -> None:
    cookie = f'theme={{"a": 1}}; b=@[]; {studio.cookie}; last='
    assert studio.raw("GET", "/api/meta", {"Cookie": cookie})[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example:80", 421), ("", 421),
        ("10.0.0.1", 421), ("localhost", 200), ("localhost:9999", 200), ("127.0.0.1:1", 200), ("[::1]:8020", 200),
        ("LOCALHOST:8020", 200),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_reach_it_at_any_port(studio, host: str, status: int) -> None:
    assert studio.raw("GET", "/api/meta", {"Host": host, "Cookie": studio.cookie})[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 403), ("null", 403), ("http://evil.example", 403), ("http://localhost:{port}", 403),
        ("http://127.0.0.1:3000", 403), ("http://127.0.0.1:{port}.evil.example", 403), ("http://127.0.0.1:{port}", 200),
    ],
)  # fmt: skip
def test_what_changes_something_must_come_from_our_own_page(studio, origin: str | None, status: int) -> None:
    headers = {"Cookie": studio.cookie, **JSON}
    if origin is not None:
        headers["Origin"] = origin.format(port=studio.port)
    assert studio.raw("POST", "/api/settings/check", headers, CHECK)[0] == status


def test_reading_from_another_site_is_refused(studio) -> None:
    headers = {"Cookie": studio.cookie, "Origin": "http://evil.example"}
    assert studio.raw("GET", "/api/runs", headers)[0] == 403
    assert studio.raw("GET", "/api/runs", {"Cookie": studio.cookie, "Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=b", None])
def test_only_json_is_taken(studio, kind: str | None) -> None:
    headers = {"Cookie": studio.cookie, "Origin": studio.origin}
    if kind is not None:
        headers["Content-Type"] = kind
    assert studio.raw("POST", "/api/settings/check", headers, CHECK)[0] == 415


def test_a_preflight_is_never_granted(studio) -> None:
    headers = {"Origin": "http://127.0.0.1:3000", "Access-Control-Request-Method": "POST"}
    status, answer, _ = studio.raw("OPTIONS", "/api/train", headers)
    assert status == 403 and not any(name.startswith("access-control") for name in answer)


def test_a_forwarded_port_works(studio) -> None:
    """As through `ssh -L 9000:localhost:8020`: the browser's own idea of the address is another."""
    headers = {"Host": "localhost:9000", "Origin": "http://localhost:9000", "Cookie": studio.cookie, **JSON}
    assert studio.raw("POST", "/api/settings/check", headers, CHECK)[0] == 200


def test_every_answer_has_the_headers(studio) -> None:
    for path, cookie in (
        ("/", studio.cookie),
        ("/api/meta", studio.cookie),
        ("/", ""),
        ("/api/nothing", studio.cookie),
    ):
        _, headers, _ = studio.raw("GET", path, {"Cookie": cookie})
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_too_long_a_body_is_refused(studio) -> None:
    headers = {"Cookie": studio.cookie, "Origin": studio.origin, **JSON}
    assert studio.raw("POST", "/api/settings/check", headers, b" " * (9 << 20))[0] == 413


@pytest.mark.parametrize(
    ("origin", "cookie", "path"),
    [
        ("http://evil.example", True, "/api/live"), (None, True, "/api/live"),
        ("http://127.0.0.1:3000", True, "/api/live"),
        ("{own}", False, "/api/live"), ("{own}", False, "/api/live?token={token}"),
    ],
)  # fmt: skip
def test_the_websocket_is_guarded_too(studio, origin: str | None, cookie: bool, path: str) -> None:
    headers = {"Cookie": studio.cookie} if cookie else {}
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://127.0.0.1:{studio.port}{path.format(token=studio.token)}",
            origin=None if origin is None else origin.format(own=studio.origin),  # type: ignore[arg-type]
            additional_headers=headers,
        )
    assert refused.value.response.status_code == 403


def test_the_websocket_opens_for_our_own_page(studio) -> None:
    url = f"ws://127.0.0.1:{studio.port}/api/live"
    with connect(url, origin=studio.origin, additional_headers={"Cookie": studio.cookie}) as socket:
        message = json.loads(socket.recv(timeout=10))
    assert (message["n"], message["type"], message["view"]["run"]) == (0, "snapshot", None)


@pytest.mark.parametrize("path", ["/", "/etc", "..", "/proc/self", "~", "a/../../.."])
def test_only_allowed_directories_are_scanned(studio, path: str) -> None:
    status, answer = studio.call("POST", "/api/scan", {"directory": path})
    assert status == 422 and "--root" in answer["error"]
    status, answer = studio.call("GET", f"/api/directories?under={path}")
    assert status == 422


def test_a_link_out_of_the_roots_is_not_followed(studio, tmp_path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.py").write_text("x = 1\n")
    (studio.workspace / "link").symlink_to(tmp_path / "secret")
    assert studio.call("POST", "/api/scan", {"directory": "link"})[0] == 422
    body = {"root": "link", "files": ["a.py"]}
    assert studio.call("POST", "/api/train", body)[0] == 422
    body = {"root": ".", "prepared": ["link/a.py"]}
    assert studio.call("POST", "/api/train", body)[0] == 422
    assert not (studio.workspace / "runs").exists() or not list((studio.workspace / "runs").glob("2*"))


@pytest.mark.parametrize("name", ["../x.py", "/etc/passwd", "a/../../b"])
def test_chosen_files_must_lie_in_the_directory(studio, name: str) -> None:
    for field in ("files", "prepared"):
        status, answer = studio.call("POST", "/api/train", {"root": ".", field: [name]})
        assert status == 422 and "inside" in answer["error"]


@pytest.mark.parametrize("run", ["..", "%2e%2e", ".trash", "x%2f..%2f..", "-", "a%00b"])
def test_a_run_is_never_a_path(studio, run: str) -> None:
    for method, path in (("GET", ""), ("GET", "/view"), ("DELETE", ""), ("POST", "/restore")):
        assert studio.call(method, f"/api/runs/{run}{path}")[0] in (404, 405, 422)


def test_the_token_is_kept_for_its_owner_only_and_stays(studio, start_studio) -> None:
    record = studio.workspace / "runs" / ".studio.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    studio.kill()
    again = start_studio()
    assert again.url == studio.url


def test_a_second_studio_of_a_directory_shows_the_first(studio, start_studio) -> None:
    second = start_studio()
    assert second.url == studio.url
    assert second.process.wait(20) == 0
    assert studio.get("/api/meta")["workspace"] == str(studio.workspace)


def test_the_server_never_loads_torch_and_stays_small(studio) -> None:
    import psutil

    studio.get("/api/meta")
    process = psutil.Process(studio.process.pid)
    maps = {m.path for m in process.memory_maps()}
    assert not any("torch" in path or "numpy" in path or "tokenizers" in path for path in maps)
    assert process.memory_info().rss < 100e6
