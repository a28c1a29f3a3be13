"""Who answers the demo's agent, and that the key goes nowhere but into its Secret."""

import os

import pytest
import yaml

from demo import install, model
from demo.errors import DemoError
from demo.images import Images
from demo.programs import Program

KEY = "sk-secret-of-the-person"


def test_without_a_key_the_stand_in_answers() -> None:
    assert not model.choose("kind", "").is_real


def test_a_cluster_without_a_way_out_says_so_and_takes_the_stand_in() -> None:
    chosen = model.choose("local", KEY)
    assert not chosen.is_real
    assert "no route out" in chosen.note
    assert KEY not in chosen.note


@pytest.mark.parametrize("provider", ["kind", "existing"])
def test_with_a_key_the_charts_egress_proxy_holds_it(provider: str) -> None:
    chosen = model.choose(provider, KEY)
    images = Images({name: install.CHART / f"{name}-1.tar" for name in ("agent", "operator", "standin", "envoy")})
    values = install.values(images, chosen)
    assert values["egress"]["enabled"]
    assert values["egress"]["credential"] == {"secretRef": {"name": model.KEY_SECRET}}
    assert KEY not in yaml.safe_dump(values)
    secret = yaml.safe_load(model.key_secret(chosen, "somewhere"))
    assert secret["metadata"] == {"name": model.KEY_SECRET, "namespace": "somewhere"}
    assert secret["stringData"] == {"api-key": KEY}


def test_the_stand_in_is_rolled_when_its_image_changes() -> None:
    def pod(version: str) -> object:
        manifests = yaml.safe_load_all(model.stand_in("standin:dev", version))
        return next(item for item in manifests if item["kind"] == "Deployment")["spec"]["template"]

    assert pod("standin-1") != pod("standin-2")
    assert pod("standin-1") == pod("standin-1")


def test_no_program_gets_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert KEY in os.environ.values()
    assert KEY not in Program(install.Path("/usr/bin/env"), []).run()


def test_a_program_that_fails_says_what_it_complained_of() -> None:
    with pytest.raises(DemoError, match=r"sh -c echo no >&2; exit 3: exit code 3\nno"):
        Program(install.Path("/bin/sh"), []).run("-c", "echo no >&2; exit 3")
