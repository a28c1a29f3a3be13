"""Settings for the property tests: no clock decides whether a test passes."""

from hypothesis import HealthCheck, settings

settings.register_profile("agentsessions", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agentsessions")
