"""LightOnOCR as a service: the OpenAI chat format of its documented server on port 8080."""
