"""What a pod is given to reach session store and archive: settings, credentials, a way there."""

import pytest

from agentsessions.api.base import Json
from agentsessions.api.config import EmbeddedStore, OperatorConfig
from agentsessions.api.storage import SessionStore
from agentsessions.builders.networkpolicy import network_policy
from agentsessions.builders.storage import (
    archive_settings,
    storage_mounts,
    storage_peers,
    storage_volumes,
    store_problem,
    store_settings,
)
from agentsessions.policies.resolve import Settings
from unit.pools import settings_of, template_of

EMBEDDED = EmbeddedStore(enabled=True, url="redis://:pass@store:6379/0")
REDIS: Json = {"type": "Redis", "secretRef": {"name": "redis"}, "egress": [{"cidr": "10.0.0.0/8", "port": 6379}]}
S3: Json = {"type": "S3", "s3": {"bucket": "talks"}, "prefix": "acme"}
ARCHIVE: Json = {
    "s3": {"bucket": "files"},
    "secretRef": {"name": "keys"},
    "egress": [{"cidr": "10.1.0.0/16", "port": 443}],
}


def given(store: Json | None = None, archive: Json | None = None) -> Settings:
    """Return the settings of a template with this storage."""
    fields: Json = {"sessionStore": store} if store else {}
    return settings_of(template_of(**fields | ({"workspace": {"archive": archive}} if archive else {})))


@pytest.mark.requirement("H40", "H04")
@pytest.mark.parametrize(
    "store", [REDIS, S3, {"type": "Embedded"}, {"type": "Custom", "custom": {"entryPoint": "a:b"}}]
)
def test_what_a_host_writes_is_under_tenant_and_namespace(store: Json) -> None:
    one, other = [store_settings(given(store), name) for name in ("team-a", "team-b")]
    assert one is not None
    assert other is not None
    assert one.prefix == f"{store.get('prefix', 'agentsessions')}/team-a"
    assert one.prefix != other.prefix
    assert (one.type, one.secrets) == (store["type"], "/var/run/agentsessions/store")
    archive = archive_settings(given(store, ARCHIVE), "team-a")
    assert archive is not None
    assert (archive.prefix, archive.max_bytes) == ("agentsessions/team-a", 1024**3)


def test_no_namespace_is_within_anothers_prefix() -> None:
    """A namespace has no slash, and what follows it in a key is one."""
    found = store_settings(given(REDIS), "team")
    assert found is not None
    assert not "agentsessions/team-b/".startswith(f"{found.prefix}/")


def test_without_storage_there_is_nothing() -> None:
    nothing = given()
    assert store_settings(nothing, "team-a") is None
    assert archive_settings(nothing, "team-a") is None
    assert storage_volumes(nothing, "own") == storage_mounts(nothing) == []
    assert storage_peers(nothing, EMBEDDED) == []


@pytest.mark.requirement("H33")
@pytest.mark.parametrize(
    ("store", "archive", "secrets"),
    [
        (REDIS, None, {"store": "redis"}),
        (S3, None, {}),
        (S3 | {"secretRef": {"name": "s3"}}, ARCHIVE, {"store": "s3", "archive": "keys"}),
        ({"type": "Embedded"}, ARCHIVE, {"store": "own", "archive": "keys"}),
        (REDIS, {"s3": {"bucket": "files"}}, {"store": "redis"}),
    ],
)
def test_credentials_are_mounted_by_the_node_and_read_only(store: Json, archive: Json | None, secrets: Json) -> None:
    settings = given(store, archive)
    volumes = storage_volumes(settings, "own")
    assert {volume["name"]: volume["secret"]["secretName"] for volume in volumes} == secrets
    assert {volume["secret"]["defaultMode"] for volume in volumes} <= {0o440}
    places = {"store": "/var/run/agentsessions/store", "archive": "/var/run/agentsessions/archive"}
    assert {one["name"]: one["mountPath"] for one in storage_mounts(settings)} == {
        name: places[name] for name in secrets
    }
    assert all(one["readOnly"] for one in storage_mounts(settings))


def test_of_the_pods_own_secret_only_the_url_is_mounted_as_the_stores() -> None:
    (volume,) = storage_volumes(given({"type": "Embedded"}), "own")
    assert volume["secret"]["items"] == [{"key": "store-url", "path": "url"}]


@pytest.mark.requirement("H24")
def test_the_policy_lets_through_what_store_and_archive_need() -> None:
    settings = given(REDIS, ARCHIVE)
    assert [(peer.cidr, peer.port) for peer in storage_peers(settings, EMBEDDED)] == [
        ("10.0.0.0/8", 6379),
        ("10.1.0.0/16", 443),
    ]
    rules = network_policy("team-a", settings, OperatorConfig(), hosts=True)["spec"]["egress"]
    assert {"cidr": "10.0.0.0/8"} in [to.get("ipBlock") for rule in rules for to in rule["to"]]


def test_the_embedded_store_is_reached_by_its_labels() -> None:
    (peer,) = storage_peers(given({"type": "Embedded"}), EMBEDDED)
    assert (peer.namespace, peer.pod_labels, peer.port) == (EMBEDDED.namespace, EMBEDDED.pod_labels, EMBEDDED.port)
    assert storage_peers(given(REDIS | {"egress": None}), EMBEDDED) == [], "and by nobody else"


@pytest.mark.parametrize(
    ("store", "embedded", "word"),
    [
        (None, EMBEDDED, "`sessionStore`"),
        ({"type": "Embedded"}, EmbeddedStore(), "`embeddedStore.enabled: true`"),
        ({"type": "Embedded"}, EmbeddedStore(enabled=True), "password"),
        ({"type": "Embedded"}, EMBEDDED, ""),
        (REDIS, EmbeddedStore(), ""),
    ],
)
def test_a_store_that_cannot_be_had_is_named_with_the_fix(
    store: Json | None, embedded: EmbeddedStore, word: str
) -> None:
    made = SessionStore.model_validate(store) if store else None
    found = store_problem(made, embedded)
    assert word in found
    assert bool(found) is bool(word)
