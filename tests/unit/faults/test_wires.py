"""Which of a pod's connections are watches."""

from e2e.wires import watches

SEEN = """\
0      0      10.245.1.83:56228    10.97.0.1:443
 bbr wscale:10,10 rto:204 bytes_sent:472529 lastsnd:3604 lastrcv:3604 lastack:3604 app_limited
0      0      10.245.1.83:56256    10.97.0.1:443
 bbr wscale:10,10 rto:204 bytes_sent:5158 lastsnd:324784 lastrcv:25100 lastack:25100 app_limited
0      0      10.245.1.83:52204 10.245.0.224:8000
 bbr wscale:10,10 rto:204 bytes_sent:819 lastsnd:90392 lastrcv:9924 lastack:9924 app_limited
"""


def test_a_watch_is_a_connection_to_the_api_server_on_which_nothing_was_sent_for_long() -> None:
    assert watches(SEEN) == [56256]


def test_where_there_are_no_connections_there_are_no_watches() -> None:
    assert watches("") == []
