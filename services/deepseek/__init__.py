"""DeepSeek-OCR as a service: JSON, multipart and SSE, documented on port 8000."""
