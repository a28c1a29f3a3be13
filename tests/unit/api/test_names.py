"""Names and labels that the API server takes, and that no two things share."""

import re

from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api import names

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
SUBDOMAIN = r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,4}"

SESSION_NAMES = st.from_regex(SUBDOMAIN, fullmatch=True).filter(lambda name: len(name) <= 63)
UIDS = st.uuids().map(str)
ATTEMPTS = st.integers(min_value=0, max_value=9999)


@given(SESSION_NAMES, UIDS, ATTEMPTS)
def test_every_child_has_a_name_that_is_a_dns_label(name: str, uid: str, attempt: int) -> None:
    for child in (names.child_name(name, uid), names.pod_name(name, uid, attempt)):
        assert LABEL.fullmatch(child)
        assert len(child) <= 63


@given(SESSION_NAMES, UIDS)
def test_a_childs_name_begins_like_its_sessions(name: str, uid: str) -> None:
    assert names.child_name(name, uid)[:10].startswith(name[:10].replace(".", "-").rstrip("-"))


@given(st.sets(st.tuples(SESSION_NAMES, UIDS), max_size=20), st.sets(ATTEMPTS, max_size=5))
def test_no_two_pods_share_a_name(sessions: set[tuple[str, str]], attempts: set[int]) -> None:
    made = [names.pod_name(name, uid, attempt) for name, uid in sessions for attempt in attempts]
    assert len(set(made)) == len(made)


@given(UIDS, UIDS)
def test_sessions_whose_names_differ_only_far_out_do_not_collide(one: str, other: str) -> None:
    long = "a" * 50
    same = names.child_name(f"{long}x", one) == names.child_name(f"{long}y", other)
    assert same == (one == other)


def test_a_name_that_is_cut_at_a_dash_gets_no_second_one() -> None:
    assert "--" not in names.child_name("a" * 39 + "-b", "uid")


def test_names_are_what_they_were_yesterday() -> None:
    """A new release must find the children that the one before made."""
    uid = "0b6f2c1e-7d1a-4f65-9a57-3f1f0c1d2e3a"
    assert names.pod_name("nightly.report", uid, 2) == "nightly-report-199a6b7b-2"
    assert names.network_policy_name(names.digest([{"to": []}])) == "agentsessions-242d9bb5ea"


@given(SESSION_NAMES, UIDS)
def test_label_values_are_valid(name: str, uid: str) -> None:
    for value in names.session_labels(name, uid).values():
        assert LABEL_VALUE.fullmatch(value)
        assert len(value) <= 63


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert names.digest(turned) == names.digest(value)
    assert re.fullmatch(r"[0-9a-f]{10}", names.digest(value))


def test_a_digest_depends_on_the_content() -> None:
    values = [None, [], {}, "", 0, "0", [0], ["0"], {"a": 1}, {"a": 2}, {"b": 1}]
    assert len({names.digest(value) for value in values}) == len(values)


def test_the_selector_of_pods_fits_the_labels_of_pods() -> None:
    labels = names.session_labels("x", "uid-1")
    managed, present = names.POD_SELECTOR.split(",")
    key, value = managed.split("=")
    assert labels[key] == value
    assert present in labels
