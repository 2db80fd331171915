"""Downloads are resumed, verified and moved in place in one step; what goes wrong is one line with the address."""

import hashlib
import multiprocessing
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest
from local_server import LocalServer, serve

from lad.utils import download as download_module
from lad.utils.download import download

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with serve({"/a.bin": CONTENT}) as server:
        yield server


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "cache" / "a.bin"


def partial_of(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name("a.bin.unfinished")


def error_line(url: str, path: Path, sha256: str = SHA256, alternative: str = "") -> str:
    """Return the message of a failed download, after which there is no file."""
    with pytest.raises(ValueError) as caught:
        download(url, path, sha256, alternative)
    assert not path.exists() and "\n" not in str(caught.value)
    assert url in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], SHA256.upper()])
def test_a_file_is_downloaded_once_and_nothing_else_is_left(server, path, sha256):
    download(f"{server.url}/a.bin", path, sha256)
    download(f"{server.url}/a.bin", path, sha256)
    assert path.read_bytes() == CONTENT and server.requests == [("/a.bin", None)]
    assert {file.name for file in path.parent.iterdir()} <= {"a.bin", "a.bin.lock"}


def test_a_connection_that_is_cut_is_resumed_where_it_ended(server, path):
    server.cut = [300_000, 100_000]
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a.bin", None), ("/a.bin", "bytes=300000-"), ("/a.bin", "bytes=400000-")]


def test_a_server_that_cannot_resume_sends_the_file_again(server, path):
    server.cut, server.has_ranges = [300_000], False
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT and len(server.requests) == 2


def test_a_server_that_resumes_at_another_byte_is_asked_for_the_whole_file(server, path):
    server.cut, server.shift = [300_000], 5
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT and [wanted for _, wanted in server.requests] == [None, "bytes=300000-", None]


def test_a_connection_that_is_cut_each_time_is_reported_and_resumed_by_the_next_call(server, path):
    server.cut = [100_000, 100_000, 100_000]
    line = error_line(f"{server.url}/a.bin", path)
    assert "the connection was lost 3 times (after 300,000 of 1,048,576 bytes)" in line
    assert "run the same command again to resume at 300,000 bytes" in line
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT and server.requests[-1] == ("/a.bin", "bytes=300000-")


def test_a_complete_file_that_was_not_moved_is_not_downloaded_again(server, path):
    partial_of(path).write_bytes(CONTENT)
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT and server.requests == [("/a.bin", f"bytes={len(CONTENT)}-")]


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT + b"x"], ids=["damaged", "longer than the file"])
def test_a_useless_part_of_an_earlier_download_is_replaced(server, path, left):
    partial_of(path).write_bytes(left)
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT


def test_a_file_of_unknown_length_is_verified_by_its_hash(server, path):
    server.has_length = False
    download(f"{server.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT


def test_other_content_is_deleted(server, path):
    line = error_line(f"{server.url}/a.bin", path, "01234567")
    assert f"its SHA-256 begins with {SHA256[:8]}, not with 01234567" in line and "is deleted" in line
    assert not partial_of(path).exists()


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Sign in", b"\xef\xbb\xbf\n <HTML lang='en'>"])
def test_an_html_page_is_recognized_by_its_content_or_type_and_keeps_what_is_there(server, path, page):
    partial_of(path).write_bytes(CONTENT[:1000])
    server.files["/page"] = page
    server.has_ranges = False
    assert "is an HTML page, not the file" in error_line(f"{server.url}/page", path)
    server.content_type = "text/html; charset=utf-8"
    assert "is an HTML page, not the file" in error_line(f"{server.url}/a.bin", path)
    assert partial_of(path).read_bytes() == CONTENT[:1000]


def test_a_redirect_to_another_web_address_is_followed(server, path):
    server.redirects["/moved"] = f"{server.url}/a.bin"
    download(f"{server.url}/moved", path, SHA256)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a.bin", "data:,x"])
def test_a_redirect_to_another_scheme_is_refused(server, path, target):
    server.redirects["/moved"] = target
    assert "not allowed" in error_line(f"{server.url}/moved", path)


@pytest.mark.parametrize(("before", "after"), [("http", "https"), ("https", "https"), ("http", "http")])
def test_a_redirect_may_not_leave_https(before, after):
    redirects = download_module._Redirects()
    request = Request(f"{before}://example.org/a")
    assert redirects.redirect_request(request, None, 302, "", {}, f"{after}://example.org/b").full_url.startswith(after)
    with pytest.raises(HTTPError, match="redirection from https to http is not allowed"):
        redirects.redirect_request(Request("https://example.org/a"), None, 302, "", {}, "http://example.org/b")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "a.bin", "http//x", "http://[", ""])
def test_only_web_addresses_are_downloaded(path, url):
    assert error_line(url, path).endswith(": not a web address; only https and http addresses can be downloaded")


def test_a_dead_link_names_the_address_the_place_and_the_alternative(server, path):
    line = error_line(f"{server.url}/gone", path, alternative="pass weights='none'")
    assert "cannot be downloaded (HTTP 404: Not Found)" in line
    assert line.endswith(f"; fetch it elsewhere and put it at {path}, or pass weights='none'")


def test_a_machine_without_internet_is_told_the_same(path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        line = error_line(f"http://127.0.0.1:{unused.getsockname()[1]}/a.bin", path)
    assert "cannot be downloaded ([Errno" in line and f"put it at {path}" in line


def test_a_server_that_does_not_answer_is_reported(path, monkeypatch):
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        line = error_line(f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin", path)
    assert "cannot be downloaded (timed out)" in line


@pytest.mark.parametrize("sha256", ["", "1234567", "x" * 64, "a" * 65])
def test_a_hash_is_required(server, path, sha256):
    with pytest.raises(ValueError, match="is not a SHA-256; give 8 to 64 hexadecimal digits"):
        download(f"{server.url}/a.bin", path, sha256)
    assert server.requests == []


def test_a_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/a\.bin: cannot be written \("):
        download(f"{server.url}/a.bin", tmp_path / "file" / "a.bin", SHA256)


def test_several_processes_download_a_file_once(server, path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=download, args=(f"{server.url}/a.bin", path, SHA256)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert path.read_bytes() == CONTENT and len(server.requests) == 1


def test_a_terminal_shows_a_bar_of_bytes_and_a_log_shows_one_line(server, path, capsys, monkeypatch):
    download(f"{server.url}/a.bin", path, SHA256)
    printed = capsys.readouterr()
    assert printed.out == f"downloading {server.url}/a.bin to {path}\n" and printed.err == ""
    path.unlink()
    monkeypatch.setattr("lad.utils.progress.is_interactive", lambda: True)
    download(f"{server.url}/a.bin", path, SHA256)
    assert "a.bin" in capsys.readouterr().err
