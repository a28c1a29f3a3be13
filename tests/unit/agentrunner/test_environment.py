"""What the agent sees of the pod's environment."""

from agentrunner.environment import agent_environment


def test_only_what_is_the_agents_passes() -> None:
    own = {
        "PATH": "/bin",
        "HOME": "/somewhere",
        "ANTHROPIC_BASE_URL": "http://model",
        "JAVA_HOME": "/opt/java",
        "CLAUDE_CODE_MAX_RETRIES": "7",
        "AGENTSESSIONS_STATE_DIR": "/state",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_PORT_443_TCP": "tcp://10.0.0.1:443",
        "TASK_PROMPT": "Do it.",
    }
    assert agent_environment(own, "Do it.\n", "/state") == {
        "PATH": "/bin",
        "HOME": "/somewhere",
        "ANTHROPIC_BASE_URL": "http://model",
        "JAVA_HOME": "/opt/java",
        "CLAUDE_CODE_MAX_RETRIES": "7",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_STREAM_CLOSE_TIMEOUT": "300000",
        "CLAUDE_CONFIG_DIR": "/state/claude",
    }


def test_a_bare_environment_gets_what_the_cli_cannot_do_without() -> None:
    assert agent_environment({}, "Do it.", "/data") == {
        "HOME": "/home/agent",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "4",
        "CLAUDE_CODE_STREAM_CLOSE_TIMEOUT": "300000",
        "CLAUDE_CONFIG_DIR": "/data/claude",
    }
