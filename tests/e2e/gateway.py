"""The gateway as its clients see it: streams, tokens, refusals."""

import asyncio
import json
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from e2e import manifests
from e2e.api import PODS, Api, Json
from e2e.forwarding import forwarded
from e2e.operator_pod import NAMESPACE, RELEASE, Sample, is_ready, parse_metrics
from e2e.terminal import Terminal
from standin.conversation import digest

SELECTOR = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=gateway"
TIMEOUT = aiohttp.ClientTimeout(total=180, sock_connect=10)


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    kind: str
    data: Json
    id: str = ""

    @property
    def number(self) -> int:
        """Its place in the session's stream."""
        return int(self.id.rpartition("-")[2])

    @property
    def slug(self) -> str:
        """The kind of an error."""
        return str(self.data.get("type", "")).rpartition("/")[2]


async def read_events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of a stream as they come."""
    fields: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield Event(fields.get("event", ""), json.loads(fields["data"]), fields.get("id", ""))
            fields = {}


def said(events: list[Event]) -> list[str]:
    """Return what the agent said in these events."""
    messages = [e.data for e in events if e.kind == "message" and e.data["type"] == "assistant"]
    return [block["text"] for message in messages for block in message["content"] if block["type"] == "text"]


@dataclass(frozen=True)
class Client:
    """Somebody with a token who talks to one session, by its public path."""

    base: str
    path: str
    token: str

    @asynccontextmanager
    async def call(self, verb: str, tail: str = "", **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Call the session."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as http,
            http.request(verb, f"{self.base}{self.path}{tail}", headers=headers, **options) as answer,
        ):
            yield answer

    async def state(self) -> Json:
        """Return how the session stands."""
        async with self.call("GET") as answer:
            assert answer.status == 200, await answer.text()
            body: Json = await answer.json()
            return body

    async def say(self, *steps: Json, **headers: str) -> list[Event]:
        """Send a message that scripts its own answer; return the events of its turn."""
        return await self.say_text(manifests.prompt(*steps), **headers)

    async def say_text(self, text: str, **headers: str) -> list[Event]:
        """Send a message; return the events of its turn."""
        async with self.call("POST", "/messages", json={"prompt": text}, headers=headers) as answer:
            assert answer.status == 200, f"{answer.status} {await answer.text()}"
            return [event async for event in read_events(answer)]

    async def status(self, verb: str = "GET", tail: str = "", **options: Any) -> tuple[int, str]:
        """Return status and body of a call."""
        async with self.call(verb, tail, **options) as answer:
            return answer.status, await answer.text()

    async def refused(self, slug: str) -> None:
        """Send a message that must not be taken, until it is refused for this.

        The gateway hears of a change a moment after whoever looks at status: till then it leads to a host that is gone.
        """
        async with asyncio.timeout(30):
            while True:
                status, body = await self.status("POST", "/messages", json={"prompt": manifests.prompt()})
                assert status in (409, 503), body
                if status == 409:
                    assert json.loads(body)["type"].rpartition("/")[2] == slug
                    return
                await asyncio.sleep(0.1)

    async def insist(self, text: str) -> list[Event]:
        """Send a message, again whenever it is refused for the moment (503), and return the events of its turn."""
        async with asyncio.timeout(240):
            while True:
                key = {"Idempotency-Key": digest(text)}
                async with self.call("POST", "/messages", json={"prompt": text}, headers=key) as answer:
                    if answer.status == 200:
                        return [event async for event in read_events(answer)]
                    assert answer.status == 503, await answer.text()
                await asyncio.sleep(1)

    async def at_work(self) -> None:
        """Wait until a turn runs."""
        async with asyncio.timeout(60):
            while (await self.state())["phase"] != "Running":  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def heard_asleep(self) -> None:
        """Wait until the gateway has heard that the session sleeps: to ask how it stands does not wake it."""
        async with asyncio.timeout(30):
            while (await self.status())[0] != 409:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def transcript(self) -> list[Json]:
        """Return the conversation as the CLI keeps it."""
        async with self.call("GET", "/transcript") as answer:
            return [json.loads(line) for line in (await answer.text()).splitlines() if line]


@dataclass
class Gateway:
    """The gateways of the release, each by a way of its own."""

    api: Api
    terminal: Terminal
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The way to one of them."""
        return next(iter(self.urls.values()))

    def token(self, namespace: str, account: str, seconds: int = 3600) -> str:
        """Return a fresh token of a service account."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.api.request("POST", path, body=body)["status"]["token"])

    def envoys(self) -> list[Sample]:
        """Return the samples of all Envoys."""
        return self._samples(8081)

    def decisions(self) -> Counter[str]:
        """Return how often the directories have decided what."""
        name = "agentsessions_directory_decisions_total"
        out: Counter[str] = Counter()
        for one in self._samples(9001):
            if one.name == name:
                out[one.labels["outcome"]] += int(one.value)
        return out

    def _samples(self, port: int) -> list[Sample]:
        out: list[Sample] = []
        for pod in self.urls:
            with forwarded(self.terminal, NAMESPACE, pod, port) as url:
                out += parse_metrics(fetch(f"{url}/metrics"))
        return out

    def logs(self) -> str:
        """Return all access logs."""
        return "".join(self.terminal.kubectl("logs", "-n", NAMESPACE, pod, "-c", "envoy") for pod in self.urls)


def fetch(url: str) -> str:
    """Return a page as text."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def pods(api: Api) -> list[str]:
    """Return the gateways that serve."""
    found = api.list(PODS, NAMESPACE, labelSelector=SELECTOR)
    return sorted(
        pod["metadata"]["name"] for pod in found if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
    )


def ways(api: Api, terminal: Terminal, stack: ExitStack) -> dict[str, str]:
    """Open a way to each gateway, for as long as the stack is; return their URLs by pod."""
    names = pods(api)
    assert names, "no gateway is ready"
    return {name: stack.enter_context(forwarded(terminal, NAMESPACE, name, 8080)) for name in names}


@contextmanager
def reached(api: Api, terminal: Terminal) -> Iterator[Gateway]:
    """Return the gateways, with a way to each."""
    with ExitStack() as stack:
        yield Gateway(api, terminal, ways(api, terminal, stack))


def key_id(terminal: Terminal, host: Json) -> str:
    """Return the id of the key that a host trusts, as its environment has it."""
    meta = host["metadata"]
    script = "tr '\\0' '\\n' < /proc/1/environ"
    text = terminal.execute(meta["namespace"], meta["name"], "sh", "-c", script)
    return text.split('"kid": "')[1].split('"')[0]
