"""The compose file is safe to start: nothing is open to the network, nothing secret is in it, everything is pinned."""

from __future__ import annotations

import configparser
import copy
import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from commonplace.cli import build_parser
from commonplace.server.routes import server
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY$|_KEY_|ACCESS_KEY", re.IGNORECASE)
ONE_SHOT = "no"
"""The restart policy of a service that does its work and ends."""


def load() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return compose


def resolved(text: str) -> str:
    """Return ``text`` with the defaults of its variables."""
    return VARIABLE.sub(lambda match: match[3] if match[2] == "-" else "", text)


def problems(compose: dict[str, Any]) -> Iterator[str]:
    """Yield what is unsafe about a compose file."""
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            if not (isinstance(port, str) and port.startswith("127.0.0.1:")):
                yield f"{name}: port {port} is not on 127.0.0.1"
        if service.get("network_mode") == "host":
            yield f"{name}: shares the network of the host"
        tag = resolved(service.get("image", "")).rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest"):
            yield f"{name}: image is not pinned"
        if service.get("restart") != ONE_SHOT and "test" not in service.get("healthcheck", {}):
            yield f"{name}: no health check"
        for key, value in service.get("environment", {}).items():
            match = VARIABLE.fullmatch(str(value))
            if SECRET.search(key) and not (match and match[2] == "?"):
                yield f"{name}: {key} is not from .env"
        for volume in service.get("volumes", ()):
            source = resolved(volume).partition(":")[0]
            if not source.startswith(".") and source not in compose["volumes"]:
                yield f"{name}: volume {source} is not declared"


def test_the_file_is_safe() -> None:
    assert list(problems(load())) == []


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "is not on 127.0.0.1": lambda services: services["milvus"].update(ports=["19530:19530"]),
    "port {'target'": lambda services: services["minio"].update(ports=[{"target": 9000, "published": 9000}]),
    "network of the host": lambda services: services["etcd"].update(network_mode="host"),
    "etcd: image is not pinned": lambda services: services["etcd"].update(image="quay.io/coreos/etcd"),
    "milvus: image is not": lambda services: services["milvus"].update(image="milvusdb/milvus:${V:-latest}"),
    "minio: no health check": lambda services: services["minio"].pop("healthcheck"),
    "PASSWORD is not from": lambda services: services["minio"]["environment"].update(MINIO_ROOT_PASSWORD="minioadmin"),
    "SECRET_ACCESS_KEY is not": lambda services: services["milvus"]["environment"].update(
        MINIO_SECRET_ACCESS_KEY="${MINIO_ROOT_PASSWORD:-minioadmin}"
    ),
    "volume elsewhere is not": lambda services: services["etcd"].update(volumes=["elsewhere:/etcd"]),
}


@pytest.mark.parametrize("problem", BREAKS)
def test_each_kind_of_problem_is_noticed(problem: str) -> None:
    compose = copy.deepcopy(load())
    BREAKS[problem](compose["services"])
    assert [line for line in problems(compose) if problem in line]


def test_milvus_asks_for_a_password() -> None:
    environment = load()["services"]["milvus"]["environment"]
    assert environment["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    assert VARIABLE.fullmatch(environment["COMMON_SECURITY_DEFAULTROOTPASSWORD"])[2] == "?"  # type: ignore[index]


def test_only_milvus_and_the_pictures_are_published() -> None:
    services = load()["services"]
    assert {name for name, service in services.items() if service.get("ports")} == {"milvus", "minio"}
    assert load()["networks"]["inside"]["internal"] is True
    assert services["etcd"]["networks"] == ["inside"]


def test_data_are_on_volumes() -> None:
    services = load()["services"]
    assert all(services[name]["volumes"] == [f"{name}:{target}"] for name, target in DATA.items())


DATA = {"etcd": "/etcd", "minio": "/data", "milvus": "/var/lib/milvus"}


def test_the_data_are_where_the_commands_say() -> None:
    services = load()["services"]
    assert "--data-dir=/etcd" in services["etcd"]["command"]
    assert services["minio"]["command"][-1] == "/data"


def test_every_service_waits_for_what_it_needs() -> None:
    services = load()["services"]
    for name, service in services.items():
        for needed, wait in service.get("depends_on", {}).items():
            ends = services[needed].get("restart") == ONE_SHOT
            assert wait["condition"] == ("service_completed_successfully" if ends else "service_healthy"), name
    assert set(services["machine-a"]["depends_on"]) == {"milvus", "bucket"}


def test_two_machines_share_a_collection_and_no_paths() -> None:
    first, second = (load()["services"][name] for name in ("machine-a", "machine-b"))
    assert first["environment"] == second["environment"]
    assert re.fullmatch(r"milvus://milvus:19530/\w+", first["environment"]["COMMONPLACE_COLLECTION"])
    assert first["environment"]["COMMONPLACE_BLOBS"].startswith("s3://commonplace/")
    targets = [service["volumes"][0].split(":")[-2:] for service in (first, second)]
    assert targets == [["/data/a", "ro"], ["/data/b", "ro"]]
    assert [service["command"][-1] for service in (first, second)] == ["/data/a", "/data/b"]


def test_the_commands_are_commands() -> None:
    machines = [service for service in load()["services"].values() if service["image"].startswith("commonplace:")]
    assert len(machines) == 2
    for service in machines:
        assert build_parser().parse_args(service["command"]).run.__name__ == "_add"
    lines = re.findall(r"docker compose run --rm machine-\w (.+?)(?:  +#.*)?$", readme(), re.MULTILINE)
    assert lines and all(build_parser().parse_args([*line.split(" ", 1)]).run.__name__ == "_search" for line in lines)


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    example = (DEPLOY / "env.example").read_text(encoding="utf-8")
    values = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    variables = {match[1]: match[3] for match in VARIABLE.finditer(text)}
    assert set(variables) == set(values)
    assert values["MILVUS_TOKEN"] == "root:${MILVUS_ROOT_PASSWORD}"
    assert not any(values[name] for name in values if SECRET.search(name) and name != "MILVUS_TOKEN")
    versions = {name: value for name, value in values.items() if name.endswith("_VERSION")}
    assert versions and all(variables[name] == version for name, version in versions.items())


def test_the_page_names_the_versions_of_the_file() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    for name, _, version in {match.groups() for match in VARIABLE.finditer(text) if match[1].endswith("_VERSION")}:
        assert f"`{version}`" in readme(), name


def test_the_image_is_pinned_and_runs_without_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (base,) = [line for line in lines if line.startswith("FROM")]
    (version,) = [line.partition("=")[2] for line in lines if line.startswith("ARG PYTHON_VERSION=")]
    assert base == "FROM python:${PYTHON_VERSION}-slim-bookworm" and re.fullmatch(r"3\.\d+\.\d+", version)
    assert load()["x-machine"]["build"]["args"]["PYTHON_VERSION"] == version
    assert lines.index("USER 1000") < lines.index('ENTRYPOINT ["commonplace"]')


def test_the_server_runs_without_root_writes_to_one_volume_and_reports_its_health() -> None:
    lines = (DEPLOY / "Dockerfile.serve").read_text(encoding="utf-8").splitlines()
    assert lines.index("USER 1000") < lines.index('ENTRYPOINT ["commonplace"]') and "VOLUME /data" in lines
    text = "\n".join(lines)
    written = re.findall(r"COMMONPLACE_(?:COLLECTION|HOME|CACHE|KEYS)=(\S+)", text)
    assert len(written) == 4 and all(path.startswith("/data/") for path in written)
    (start,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert build_parser().parse_args(json.loads(start)).run.__name__ == "_serve"
    assert "/health" in {getattr(route, "path", "") for route in server.router.routes} and ":8421/health'" in text
    (run,) = re.findall(r"docker run -d (.*?)\n```", readme(), re.DOTALL)
    assert all(option in run for option in ("--read-only", "--cap-drop ALL", "-p 127.0.0.1:8421:8421"))


def test_the_service_starts_the_server_on_loopback_and_writes_where_it_may() -> None:
    unit = (DEPLOY / "commonplace.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=\S+/commonplace (.+)$", unit, re.MULTILINE)
    options = build_parser().parse_args(start.split())
    assert options.run.__name__ == "_serve" and options.host == "127.0.0.1"
    for path in re.findall(r"^Environment=COMMONPLACE_\w+=(\S+)$", unit, re.MULTILINE):
        assert path.startswith(("/var/lib/commonplace", "/var/cache/commonplace"))
    assert {"DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(unit.splitlines())


def readme() -> str:
    return (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_the_service_runs_a_real_command() -> None:
    service = configparser.ConfigParser(interpolation=None)
    service.optionxform = str  # type: ignore[assignment,method-assign]
    service.read(DEPLOY / "commonplace-watch.service", encoding="utf-8")
    program, *words = shlex.split(service["Service"]["ExecStart"])
    options = build_parser().parse_args(words)
    assert program.endswith("/commonplace") and options.paths == ["%h/Documents"]
    assert service["Install"]["WantedBy"] == "default.target"  # of a user: it starts with the session
