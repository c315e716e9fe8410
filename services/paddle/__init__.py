"""PaddleOCR-VL as a service: OpenAI chat with extraction modes, documented on port 8001."""
