"""Simulates a burst of requests on Flex Consumption, from measured service times and cold starts."""
