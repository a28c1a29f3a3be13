"""What the stores of the tests are made of: Redis, Postgres and S3, each one pod with a volume. Pure."""

from dataclasses import dataclass

from e2e.manifests import Json

NAMESPACE = "e2e-stores"
BUCKET = "sessions"
_VERSION = "agentsessions.dev/image-version"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is particular to a store: its type in manifests, its port, its processes, and two shell commands in its pod.

    `empty` throws everything away, `find` prints what mentions the text in $1: keys, or rows.
    """

    name: str
    type: str
    port: int
    process: str
    empty: str
    find: str


_REDIS_CLI = 'REDISCLI_AUTH="$STORE_PASSWORD" redis-cli'
_PSQL = "--host=/tmp --username=sessions --dbname=postgres"
_EMPTY = """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'agentsessions_schema' LOOP
    EXECUTE format('TRUNCATE %I CASCADE', name);
  END LOOP;
END $$;
"""
"""Rows go, tables stay: a client that has made them does not make them again."""

LOSE = f"""
{_REDIS_CLI} --scan --pattern "*$1*" | while read -r key; do
  if [ "$({_REDIS_CLI} TYPE "$key" </dev/null)" = list ]; then {_REDIS_CLI} LTRIM "$key" 0 "-$2" </dev/null; fi
done
"""
"""Cut the last lines off every list whose key has the text in $1; $2 is the place of the last to keep, from the end."""

REDIS = Kind("redis", "Redis", 6379, "redis-server", f"{_REDIS_CLI} FLUSHALL", f'{_REDIS_CLI} --scan --pattern "*$1*"')
POSTGRES = Kind(
    "postgres",
    "Postgres",
    5432,
    "postgres",
    f"psql {_PSQL} --quiet --set=ON_ERROR_STOP=1 <<'SQL'\n{_EMPTY}\nSQL",
    f'pg_dump {_PSQL} --data-only --inserts | {{ grep --fixed-strings -e "$1" || true; }}',
)
S3 = Kind(
    "s3",
    "S3",
    7070,
    "versitygw",
    f"rm -rf /data/metadata/{BUCKET} /data/objects/{BUCKET} && mkdir /data/objects/{BUCKET}",
    f'find /data/objects/{BUCKET} -type f -path "*$1*"',
)


def labels(kind: Kind) -> dict[str, str]:
    """Return the labels of its pod."""
    return {"app": kind.name}


def service(kind: Kind) -> Json:
    """Return its Service."""
    ports = [{"port": kind.port, "targetPort": kind.port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": kind.name, "namespace": NAMESPACE},
        "spec": {"selector": labels(kind), "ports": ports},
    }


def stateful_set(kind: Kind, image: str, version: str) -> Json:
    """Return its one pod with a volume; another `version` of the image replaces it."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": kind.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "serviceName": kind.name,
            "selector": {"matchLabels": labels(kind)},
            "template": {
                "metadata": {"labels": labels(kind), "annotations": {_VERSION: version}},
                "spec": _pod_spec(kind, image),
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def _pod_spec(kind: Kind, image: str) -> Json:
    return {
        "automountServiceAccountToken": False,
        # The first process of a namespace cannot be stopped from inside; so the store must not be that.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(kind, image)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _container(kind: Kind, image: str) -> Json:
    password = {"secretKeyRef": {"name": kind.name, "key": "password"}}
    return {
        "name": "store",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [kind.name],
        "env": [{"name": "STORE_PASSWORD", "valueFrom": password}, {"name": "STORE_BUCKETS", "value": BUCKET}],
        # The kernel takes connections also for a store that is frozen: it stays ready, as a sick one does.
        "readinessProbe": {"tcpSocket": {"port": kind.port}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
