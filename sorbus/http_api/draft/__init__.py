"""A first description of an application, made from its OpenAPI file or from answers, for a person to finish."""
