#!/usr/bin/env bash
# The curl examples of the paddle document: paddle.sh CASE, with BASE and IMAGE in the environment.
# Where the document writes "..." for the image, its bytes stand here.
set -euo pipefail
case "$1" in
  health) curl "$BASE/health" ;;
  models) curl "$BASE/v1/models" ;;
  chat)
    curl -X POST "$BASE/v1/chat/completions" \
      -H "Content-Type: application/json" \
      -d '{
        "model": "PaddlePaddle/PaddleOCR-VL",
        "messages": [{
          "role": "user",
          "content": [
            {"type": "text", "text": "Extract text"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,'"$(base64 -w0 "$IMAGE")"'"}}
          ]
        }],
        "max_tokens": 1024
      }' ;;
  *) echo "no such case: $1" >&2; exit 2 ;;
esac
