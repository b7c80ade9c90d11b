"""Addresses and settings of collections in Milvus: every form, one line for a wrong one, and no secret is shown."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from commonplace.errors import CollectionError
from commonplace.store.milvus.address import MilvusAddress, is_address
from commonplace.store.milvus.settings import StoreSettings

SECRET = "root:Milvus-9f3a"


@pytest.mark.parametrize(
    ("url", "uri", "name", "tenant", "shown"),
    [
        ("milvus://db.example/papers", "http://db.example:19530", "papers", None, "milvus://db.example:19530/papers"),
        ("milvus://DB.example:99/p_1/", "http://db.example:99", "p_1", None, "milvus://db.example:99/p_1"),
        ("MILVUS://h/a?tenant=7_b", "http://h:19530", "a", "7_b", "milvus://h:19530/a?tenant=7_b"),
        ("milvus://[::1]:5/_a", "http://[::1]:5", "_a", None, "milvus://[::1]:5/_a"),
    ],
)
def test_a_server_has_an_address(url: str, uri: str, name: str, tenant: str | None, shown: str) -> None:
    address = MilvusAddress.parse(url)
    assert is_address(url) and not address.is_lite
    assert (address.uri, address.name, address.tenant, address.url) == (uri, name, tenant, shown)
    assert MilvusAddress.parse(address.url) == address


def test_a_file_has_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for url, path, name in (
        (f"milvus-lite://{tmp_path}/a.db", tmp_path / "a.db", "commonplace"),
        (f"milvus-lite://{tmp_path}/a%20%3F@ü.db?name=papers", tmp_path / "a ?@ü.db", "papers"),
        ("milvus-lite:sub/a.db", tmp_path / "sub" / "a.db", "commonplace"),
        ("milvus-lite:~/a.db", tmp_path / "home" / "a.db", "commonplace"),
        ("milvus-lite:///~/a.db?name=x", tmp_path / "home" / "a.db", "x"),
    ):
        address = MilvusAddress.parse(url)
        assert is_address(url) and address.is_lite and address.token is None
        assert (address.uri, address.name) == (str(path), name)
        assert MilvusAddress.parse(address.url) == address
    (tmp_path / "link").symlink_to(tmp_path)
    assert MilvusAddress.parse("milvus-lite:link/a.db") == MilvusAddress.parse("milvus-lite:a.db")


def test_folders_are_no_addresses() -> None:
    for text in ("notes", "/milvus/x", "./milvus:x", "milvus", "xmilvus://a/b", "file:///x", "", None, Path("milvus:")):
        assert not is_address(text)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("milvus://host", "no name of a collection"),
        ("milvus:///papers", "no host"),
        ("milvus:papers", "no host"),
        ("milvus:/host/papers", "no host"),  # what pathlib.Path makes of milvus://host/papers
        ("milvus://host/a/b", "name of the collection is 'a/b'"),
        ("milvus://host/1a", "name of the collection is '1a'"),
        ("milvus://host/a__items", "name of the collection is 'a__items'"),
        ("milvus://host/größe", "name of the collection"),
        ("milvus://host/" + "a" * 65, "name of the collection"),
        ("milvus://host:port/a", "no valid host and port"),
        ("milvus://host:99999/a", "no valid host and port"),
        ("milvus://[::1/a", "no valid host and port"),
        ("milvus://host/a?tenant=", "tenant is ''"),
        ("milvus://host/a?tenant=a-b", "tenant is 'a-b'"),
        ("milvus://host/a?tenant=a&tenant=b", "is not an option"),
        ("milvus://host/a?name=b", "'name' is not an option"),
        ("milvus://host/a#b", "a part after #"),
        ("milvus-lite://file.db", "three slashes"),
        ("milvus-lite:///", "ends in .db"),
        ("milvus-lite:///a/notes", "ends in .db"),
        ("milvus-lite:///a%00.db", "zero character"),
        ("milvus-lite:///a.db?name=a b", "name of the collection is 'a b'"),
        ("milvus-lite:///a.db?tenant=b", "'tenant' is not an option"),
    ],
)
def test_a_wrong_address_is_one_clear_line(url: str, why: str) -> None:
    with pytest.raises(CollectionError, match=why) as error:
        MilvusAddress.parse(url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        f"milvus://{SECRET}@host/a",
        f"milvus://{SECRET}@host:no/a",
        f"milvus://host/{SECRET}@a",
        f"milvus:{SECRET}@host",
        f"milvus://host/a?token={SECRET}",
        f"milvus://host?Password={SECRET}",
        f"milvus://host/a?pass={SECRET}",
        f"milvus://host?pass={SECRET}",
        f"milvus-lite:///a.db?token={SECRET}",
        f"milvus-lite:///a?secret={SECRET}",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(CollectionError) as error:
        MilvusAddress.parse(url)
    assert SECRET not in str(error.value) and "9f3a" not in repr(error.value)


def test_the_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    settings = StoreSettings.read({"token": SECRET, "blobs": f"ftp://me:{SECRET}@host/x"}, {}, ())
    address = MilvusAddress.parse("milvus://host/a", settings)
    assert address.token == SECRET
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("commonplace").warning("%s %r %s", address, settings, address.url)
    assert "9f3a" not in caplog.text and "9f3a" not in repr((address, settings)) + str(address) + address.url


def test_flags_over_environment_over_file(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    for folder in (near, far):
        folder.mkdir()
    (near / "commonplace.toml").write_text('[milvus]\ntls = true\ntimeout = 3\nblobs = "file:///blobs"\n')
    (far / "commonplace.toml").write_text('[milvus]\nca = "/far.pem"\ntimeout = 9\n')
    environment = {
        "COMMONPLACE_MILVUS_TOKEN": "from-environment",
        "COMMONPLACE_MILVUS_TIMEOUT": "2.5",
        "COMMONPLACE_MILVUS_CA": "",
        "COMMONPLACE_MILVUS_TLS": "no",
    }
    settings = StoreSettings.read({"token": None}, environment, (near, far))
    assert settings == StoreSettings("from-environment", False, "/far.pem", 2.5, "file:///blobs")
    settings = StoreSettings.read({"token": "flag", "blobs": "s3://b"}, {}, (near,))
    assert settings == StoreSettings("flag", True, None, 3.0, "s3://b")
    assert StoreSettings.read({}, {"COMMONPLACE_BLOBS": "s3://b"}, (near,)).blobs == "s3://b"
    assert StoreSettings.read({}, {}, ()) == StoreSettings()
    address = MilvusAddress.parse("milvus://host/a", StoreSettings(ca="/a.pem", timeout=2))
    assert (address.uri, address.ca, address.timeout) == ("https://host:19530", "/a.pem", 2)
    assert MilvusAddress.parse("milvus://host/a", StoreSettings(tls=True)).uri == "https://host:19530"


def test_a_file_decides_neither_token_nor_where_pictures_go(tmp_path: Path) -> None:
    file = tmp_path / "commonplace.toml"
    file.write_text(f'[milvus]\ntoken = "{SECRET}"\n')
    with pytest.raises(CollectionError, match=r"holds a token.*COMMONPLACE_MILVUS_TOKEN") as error:
        StoreSettings.read({"token": "mine"}, {}, (tmp_path,))
    assert "9f3a" not in str(error.value)
    file.write_text('[milvus]\nblobs = "s3://elsewhere/blobs"\n')
    for flags in ({}, {"blobs": ""}):
        with pytest.raises(CollectionError, match="not files on this machine"):
            StoreSettings.read(flags, {}, (tmp_path,))
    assert StoreSettings.read({}, {"COMMONPLACE_BLOBS": "s3://mine"}, (tmp_path,)).blobs == "s3://mine"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"timeout": 0.0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": 1e9}, "timeout is"),
        ({"token": 3}, "token is of the type int"),
        ({"blobs": Path("x")}, "blobs is of the type"),
    ],
)
def test_an_unusable_setting_is_one_clear_line(values: dict[str, object], why: str) -> None:
    with pytest.raises(CollectionError, match=why):
        StoreSettings.read(values, {}, ())


@pytest.mark.parametrize(("name", "value"), [("TIMEOUT", "soon"), ("TLS", "maybe")])
def test_an_unusable_variable_is_one_clear_line(name: str, value: str) -> None:
    with pytest.raises(CollectionError, match=f"COMMONPLACE_MILVUS_{name} is '{value}': it must be of the type"):
        StoreSettings.read({}, {f"COMMONPLACE_MILVUS_{name}": value}, ())


def test_an_address_is_recognised_without_loading_a_client() -> None:
    code = (
        "import sys\nfrom commonplace.store.milvus.address import is_address\nassert is_address('milvus://a/b')\n"
        "print([m for m in ('pymilvus', 'milvus_lite', 'fsspec', 'faiss', 'grpc') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
