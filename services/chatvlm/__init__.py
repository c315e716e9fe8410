"""ChatVLMLLM as a service: multipart, several models, documented on port 8000."""
