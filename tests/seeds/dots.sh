#!/usr/bin/env bash
# The curl examples of the dots document: dots.sh CASE, with BASE and IMAGE in the environment.
set -euo pipefail
case "$1" in
  health) curl -X GET "$BASE/health" ;;
  path)
    curl -X POST "$BASE/ocr" \
      -H "Content-Type: application/json" \
      -d '{
        "image": "'"$IMAGE"'",
        "image_format": "path",
        "prompt_type": "prompt_layout_all_en"
      }' ;;
  base64)
    curl -X POST "$BASE/ocr" \
      -H "Content-Type: application/json" \
      -d '{
        "image": "'"$(base64 -w0 "$IMAGE")"'",
        "image_format": "base64",
        "prompt_type": "prompt_ocr"
      }' ;;
  stream)
    curl -X POST "$BASE/ocr" \
      -H "Content-Type: application/json" \
      -d '{
        "image": "'"$IMAGE"'",
        "image_format": "path",
        "stream": true
      }' ;;
  *) echo "no such case: $1" >&2; exit 2 ;;
esac
