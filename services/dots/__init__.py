"""dots.ocr as a service: JSON and NDJSON, documented on port 5000."""
