#!/usr/bin/env bash
# The curl examples of the lighton document: lighton.sh CASE, with BASE and IMAGE in the environment.
# -i of GNU base64 only ignores garbage, so the lines stay wrapped and their ends go into the JSON.
set -euo pipefail
case "$1" in
  health) curl "$BASE/health" ;;
  models) curl "$BASE/v1/models" ;;
  chat)
    IMAGE_BASE64=$(base64 -i "$IMAGE")
    curl -X POST "$BASE/v1/chat/completions" \
      -H "Content-Type: application/json" \
      -d "{
        \"model\": \"LightOnOCR-1B-1025\",
        \"messages\": [{
          \"role\": \"user\",
          \"content\": [
            {\"type\": \"text\", \"text\": \"Extract all text from this image.\"},
            {\"type\": \"image_url\", \"image_url\": {
              \"url\": \"data:image/jpeg;base64,$IMAGE_BASE64\"
            }}
          ]
        }],
        \"temperature\": 0.1,
        \"max_tokens\": 4096
      }" ;;
  *) echo "no such case: $1" >&2; exit 2 ;;
esac
