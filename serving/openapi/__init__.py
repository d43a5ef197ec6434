"""The OpenAPI document and the example requests in it. Pure."""
