"""What a developer runs and nobody deploys."""
