"""The OpenAPI document, its schemas and its example requests."""
