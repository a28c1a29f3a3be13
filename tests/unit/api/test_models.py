"""The models: tolerant of newer fields, exact on the wire, silent about content in their errors."""

import pytest
from pydantic import TypeAdapter, ValidationError

from agentsessions.api.base import API_VERSION, Quantity
from agentsessions.api.session import AgentSession, AgentSessionSpec
from agentsessions.api.status import AgentSessionStatus, Host, Termination
from agentsessions.api.template import AgentTemplateSpec, TemplateFields
from unit.make import NOW, PROMPT, UID, make_session


def test_the_smallest_session() -> None:
    session = make_session().build()
    assert session.key == ("team-a", "hello")
    assert session.spec == AgentSessionSpec(pattern="Ephemeral", prompt=PROMPT)
    assert session.status == AgentSessionStatus()


def test_fields_of_a_newer_crd_are_ignored() -> None:
    session = make_session().with_spec(invented=1).with_meta(managed_fields=[{}]).build()
    assert session == make_session().build()


def test_unset_fields_stay_off_the_wire() -> None:
    assert AgentTemplateSpec().to_json() == {}
    assert TemplateFields.model_validate({"resources": {"cpu": "1"}}).to_json() == {"resources": {"cpu": "1"}}


def test_a_session_takes_every_field_of_a_template() -> None:
    assert set(TemplateFields.model_fields) <= set(AgentSessionSpec.model_fields)


@pytest.mark.parametrize(("given", "text"), [(1, "1"), ("500m", "500m")])
def test_a_quantity_may_be_an_integer_as_kubernetes_has_it(given: object, text: str) -> None:
    assert TypeAdapter(Quantity).validate_python(given) == text


def test_uids_have_the_spelling_of_kubernetes() -> None:
    assert Host(pod="p", pod_uid="u").to_json() == {"pod": "p", "podUID": "u"}
    last = Termination(reason="Evicted", pod="p", pod_uid="u").to_json()
    assert last == {"reason": "Evicted", "message": "", "pod": "p", "podUID": "u"}


def test_status_comes_back_as_it_was_written() -> None:
    status = make_session().with_status(start_time=NOW, session_id=UID, restarts=2).build().status
    assert AgentSessionStatus.model_validate(status.to_json()) == status


def test_structured_answers_keep_their_nulls() -> None:
    status = AgentSessionStatus.model_validate({"result": {"structured": {"a": None, "b": [None, {"c": None}]}}})
    assert status.to_json()["result"]["structured"] == {"a": None, "b": [None, {"c": None}]}


def test_a_status_without_a_condition_says_so() -> None:
    assert AgentSessionStatus().condition("Ready") is None
    assert not AgentSessionStatus().is_true("Ready")


def test_models_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValidationError):
        make_session().build().spec.prompt = "other"  # type: ignore[misc]


def test_an_error_never_shows_what_was_in_the_field() -> None:
    """Errors end up in logs, and prompts must not."""
    body = make_session().with_spec(prompt="s3cret " * 50_000).json()
    with pytest.raises(ValidationError) as caught:
        AgentSession.model_validate(body)
    assert "prompt" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_api_version() -> None:
    assert API_VERSION == "agentsessions.dev/v1alpha1"
