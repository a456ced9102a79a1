"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# The time that an example takes depends on the machine more than on the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
