"""What a burst of requests does on Flex Consumption: a simulation from measured service times and cold starts."""
