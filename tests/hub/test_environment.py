"""What the environment says holds for what is asked and for the bytes, through real sockets."""

from __future__ import annotations

import base64
import importlib.util
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import PATH, REPOSITORY, Loopback, answers
from proxying import Proxy, certificate
from pulls import ask_and_start, fail, told_by
from serving import FileHub

from ondevice.errors import DownloadTrouble
from ondevice.hub import listing
from ondevice.hub.cache import HubCache
from ondevice.hub.remote import Hub

CONTENT = random.Random(7).randbytes(3_000_000)
SECRET = "hf_secret"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no token of the machine itself."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("HF_TOKEN"):
            monkeypatch.delenv(name)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def hub(content: Path) -> Iterator[FileHub]:
    served = FileHub(content)
    yield served
    served.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    opened = Proxy()
    yield opened
    opened.close()


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


def steps(hub: FileHub) -> list[tuple[str, str]]:
    """What a pull asks for: what the file is, where its bytes are, and them."""
    file = hub.file
    of = f"/{file.repository}/resolve"
    return [
        ("HEAD", f"{hub.address}{of}/main/{file.path}"),
        ("GET", f"{hub.address}{of}/{file.commit}/{file.path}"),
        ("GET", f"{hub.bytes_address}/bytes/{file.content_hash}"),
    ]


def comes_whole(hub: FileHub, store: HubCache, **env: str) -> list[str]:
    """The pull succeeds, and every one of its steps reached the hub; returns its notices."""
    told = told_by(ask_and_start(hub, store, **env))
    assert store.snapshot(hub.file).read_bytes() == CONTENT
    reached = [(method, path) for method, path, _ in hub.requests]
    assert reached == [(method, "/" + url.split("/", 3)[3]) for method, url in steps(hub)]
    return [each["message"] for each in told if "notice" in each]


class TestAMirror:
    def test_is_asked_and_gives_the_bytes(self, hub: FileHub, store: HubCache) -> None:
        comes_whole(hub, store, HF_ENDPOINT=f"{hub.address}/")

    def test_that_is_no_address_is_one_line(self, hub: FileHub, store: HubCache) -> None:
        line = fail(ask_and_start(hub, store, HF_ENDPOINT="http://hub:port"))
        assert line.startswith("EnvironmentUnusable: the hub's address is not usable")

    @pytest.mark.parametrize("host", ["a..b", ".", "l" * 70], ids=["a gap", "a dot", "too long"])
    def test_whose_name_can_be_nobodys_is_one_line(
        self, hub: FileHub, store: HubCache, host: str
    ) -> None:
        line = fail(ask_and_start(hub, store, HF_ENDPOINT=f"http://{host}"))
        assert line.startswith(f"NoNetwork: cannot find the host {host} | ")

    @pytest.mark.parametrize(
        "address",
        [
            "https://me:PASSWORD",
            "https://me:PASS/WORD@hub",
            "me:PASSWORD@hub",
            "hub",
            "http://hub/\udcff",
        ],
        ids=["no host", "a slash", "no scheme", "a name", "no text"],
    )
    def test_that_is_no_address_is_not_repeated(
        self, hub: FileHub, store: HubCache, address: str
    ) -> None:
        line = fail(ask_and_start(hub, store, HF_ENDPOINT=address))
        assert line.startswith("EnvironmentUnusable: the hub's address is not usable")
        assert "PASS" not in line

    def test_is_told_its_password_and_nobody_else_is(self, hub: FileHub, store: HubCache) -> None:
        address = hub.address.replace("://", "://me:pass%40word@")
        comes_whole(hub, store, HF_ENDPOINT=address, HF_TOKEN=SECRET)
        basic = f"Basic {base64.b64encode(b'me:pass@word').decode()}"
        assert shown(hub) == [basic, basic, None]

    @pytest.mark.parametrize("status", [403, 404])
    def test_keeps_its_password_out_of_messages(self, loopback: Loopback, status: int) -> None:
        loopback.file_faults.append(answers(status))
        loopback.api_faults.append(answers(status))
        with Hub(loopback.address.replace("://", "://me:password@")) as hub:
            for ask in (
                lambda: hub.look_up(REPOSITORY, PATH, "main"),
                lambda: listing.describe(hub, REPOSITORY),
            ):
                with pytest.raises(DownloadTrouble) as raised:
                    ask()
                assert loopback.address in raised.value.hint
                assert "password" not in raised.value.message + raised.value.hint


class TestAProxy:
    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
    def test_forwards_what_is_asked_and_the_bytes(
        self, hub: FileHub, proxy: Proxy, store: HubCache, name: str
    ) -> None:
        comes_whole(hub, store, NO_PROXY="", **{name: proxy.address})
        assert [(method, url) for method, url, _ in proxy.requests] == steps(hub)

    def test_tunnels_to_a_hub_behind_tls_and_sees_no_token(
        self, content: Path, tmp_path: Path, proxy: Proxy, store: HubCache
    ) -> None:
        tls, trusted = certificate(tmp_path)
        hub = FileHub(content, tls=tls)
        env = {"HTTPS_PROXY": proxy.address, "SSL_CERT_FILE": str(trusted)}
        comes_whole(hub, store, NO_PROXY="", HF_TOKEN=SECRET, **env)
        hub.close()
        goals = {each.removeprefix("https://") for each in (hub.address, hub.bytes_address)}
        assert {(method, url) for method, url, _ in proxy.requests} == {
            ("CONNECT", goal) for goal in goals
        }
        assert SECRET not in str(proxy.requests)

    def test_is_left_out_for_a_host_that_needs_none(
        self, hub: FileHub, proxy: Proxy, store: HubCache
    ) -> None:
        comes_whole(hub, store, NO_PROXY="127.0.0.1", HTTP_PROXY=proxy.address)
        assert proxy.requests == []

    def test_is_told_its_password_and_the_hub_is_not(
        self, hub: FileHub, proxy: Proxy, store: HubCache
    ) -> None:
        comes_whole(hub, store, NO_PROXY="", HTTP_PROXY=f"http://me:secret@{proxy.host}")
        assert all("Proxy-Authorization" in headers for _, _, headers in proxy.requests)
        assert not any("Proxy-Authorization" in headers for _, _, headers in hub.requests)

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("http://127.0.0.1:1", "HubUnreachable: 127.0.0.1 does not answer"),
            ("gopher://x", "EnvironmentUnusable: the hub's address is not usable"),
        ],
        ids=["absent", "of another kind"],
    )
    def test_that_is_none_is_one_line(
        self, hub: FileHub, store: HubCache, address: str, said: str
    ) -> None:
        line = fail(ask_and_start(hub, store, NO_PROXY="", HTTP_PROXY=address))
        assert line.startswith(said)
        assert hub.requests == []

    def test_of_socks_says_what_to_install_and_not_its_password(
        self, hub: FileHub, store: HubCache
    ) -> None:
        if importlib.util.find_spec("socksio"):
            pytest.skip("SOCKS works here")
        told = ask_and_start(hub, store, NO_PROXY="", ALL_PROXY="socks5://me:PASSWORD@127.0.0.1:9")
        assert fail(told) == (
            "EnvironmentUnusable: a SOCKS proxy takes a package that is not installed | "
            'pip install "httpx2[socks]", or unset ALL_PROXY.'
        )


class TestCertificates:
    @pytest.mark.parametrize("name", ["absent", "no certificate"])
    def test_that_cannot_be_read_are_one_line(
        self, hub: FileHub, store: HubCache, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "no certificate").write_text("nothing of that kind")
        line = fail(ask_and_start(hub, store, SSL_CERT_FILE=str(tmp_path / name)))
        assert line.startswith("EnvironmentUnusable: what TLS is to use cannot be read: ")
        assert line.endswith(" | Check SSL_CERT_FILE.")
        assert hub.requests == []


def in_the_tools_file(folder: Path) -> dict[str, str]:
    (folder / "hf").mkdir(exist_ok=True)
    (folder / "hf" / "token").write_text(f"{SECRET}\n")
    return {"HF_HOME": str(folder / "hf")}


def in_a_file_of_ones_own(folder: Path) -> dict[str, str]:
    (folder / "mine").write_text(SECRET)
    return {"HF_TOKEN_PATH": str(folder / "mine")}


def in_the_systems_cache(folder: Path) -> dict[str, str]:
    (folder / "xdg" / "huggingface").mkdir(parents=True)
    (folder / "xdg" / "huggingface" / "token").write_text(SECRET)
    return {"HF_HOME": "", "XDG_CACHE_HOME": str(folder / "xdg")}


def shown(hub: FileHub) -> list[str | None]:
    """What the client said it may, with every request."""
    return [headers.get("Authorization") for _, _, headers in hub.requests]


BY_FILE = pytest.mark.parametrize(
    "place",
    [in_the_tools_file, in_a_file_of_ones_own, in_the_systems_cache],
    ids=lambda f: f.__name__,
)
Place = Callable[[Path], dict[str, str]]


Login = tuple[FileHub, dict[str, str]]


class TestAToken:
    @pytest.fixture
    def login(self, content: Path, tmp_path: Path, proxy: Proxy) -> Iterator[Login]:
        """huggingface.co, and the environment in which it is reached."""
        tls, trusted = certificate(tmp_path)
        hub = FileHub(content, tls=tls)
        proxy.elsewhere["huggingface.co:443"] = hub.address.removeprefix("https://")
        env = {"HF_ENDPOINT": "", "SSL_CERT_FILE": str(trusted)}
        yield hub, env | {"HTTPS_PROXY": proxy.address, "NO_PROXY": ""}
        hub.close()

    def test_is_shown_to_the_hub_and_not_to_the_host_of_the_bytes(
        self, hub: FileHub, store: HubCache
    ) -> None:
        assert comes_whole(hub, store, HF_TOKEN=SECRET) == []
        assert shown(hub) == [f"Bearer {SECRET}", f"Bearer {SECRET}", None]

    @BY_FILE
    def test_of_the_login_is_shown_to_the_host_of_the_login(
        self, login: Login, store: HubCache, tmp_path: Path, place: Place
    ) -> None:
        hub, env = login
        assert comes_whole(hub, store, **env, **place(tmp_path)) == []
        assert shown(hub) == [f"Bearer {SECRET}", f"Bearer {SECRET}", None]

    @BY_FILE
    def test_of_the_login_is_not_shown_to_a_mirror(
        self, hub: FileHub, store: HubCache, tmp_path: Path, place: Place
    ) -> None:
        (said,) = comes_whole(hub, store, **place(tmp_path))
        assert said.startswith("the login at huggingface.co is not shown to http://127.0.0.1;")
        assert shown(hub) == [None, None, None]

    def test_of_the_login_is_not_shown_over_plain_http(
        self, hub: FileHub, store: HubCache, tmp_path: Path, proxy: Proxy
    ) -> None:
        proxy.elsewhere["huggingface.co"] = hub.address.removeprefix("http://")
        env = {"HF_ENDPOINT": "http://huggingface.co", "HTTP_PROXY": proxy.address}
        (said,) = comes_whole(hub, store, NO_PROXY="", **env, **in_the_tools_file(tmp_path))
        assert said.startswith("the login at huggingface.co is not shown to http://huggingface.co;")
        assert shown(hub) == [None, None, None]

    def test_is_not_sent_over_plain_http_to_another_machine(
        self, hub: FileHub, store: HubCache, proxy: Proxy
    ) -> None:
        proxy.elsewhere["mirror.example"] = hub.address.removeprefix("http://")
        env = {"HF_ENDPOINT": "http://mirror.example", "HTTP_PROXY": proxy.address}
        (said,) = comes_whole(hub, store, NO_PROXY="", HF_TOKEN=SECRET, **env)
        assert said == "HF_TOKEN is not sent to mirror.example: http is not encrypted"
        assert shown(hub) == [None, None, None]
        assert SECRET not in str(proxy.requests)

    def test_is_not_shown_to_a_proxy_on_the_way_to_this_machine(
        self, hub: FileHub, store: HubCache, proxy: Proxy
    ) -> None:
        env = {"HTTP_PROXY": proxy.address, "HF_TOKEN": SECRET}
        (said,) = comes_whole(hub, store, NO_PROXY="", **env)
        assert said == "HF_TOKEN is not sent to 127.0.0.1 through a proxy: http is not encrypted"
        assert shown(hub) == [None, None, None]
        assert len(proxy.requests) == 3
        assert SECRET not in str(proxy.requests)

    @pytest.mark.parametrize("spared", ["other, 127.0.0.1", "*"])
    def test_is_shown_to_this_machine_where_the_proxy_is_left_out(
        self, hub: FileHub, store: HubCache, proxy: Proxy, spared: str
    ) -> None:
        env = {"HTTP_PROXY": proxy.address, "HF_TOKEN": SECRET}
        assert comes_whole(hub, store, NO_PROXY=spared, **env) == []
        assert shown(hub) == [f"Bearer {SECRET}", f"Bearer {SECRET}", None]
        assert proxy.requests == []

    def test_in_a_file_is_left_there_when_it_is_not_to_be_used(
        self, login: Login, store: HubCache, tmp_path: Path
    ) -> None:
        hub, env = login
        env |= in_the_tools_file(tmp_path) | {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
        assert comes_whole(hub, store, **env) == []
        assert shown(hub) == [None, None, None]


class TestOffline:
    @pytest.mark.parametrize("value", ["1", "true", "YES"])
    def test_asks_nobody_and_says_why(self, hub: FileHub, store: HubCache, value: str) -> None:
        line = fail(ask_and_start(hub, store, HF_HUB_OFFLINE=value))
        assert line == "HubUnreachable: HF_HUB_OFFLINE forbids the network | Unset it to download."
        assert hub.requests == []
