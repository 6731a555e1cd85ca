"""The documents that the service answers with, as classes for the OpenAPI document; what encodes them is elsewhere."""
