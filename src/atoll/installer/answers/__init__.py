"""The answers file of an unattended installation: schema, parser, documents."""
