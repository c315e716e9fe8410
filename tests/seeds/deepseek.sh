#!/usr/bin/env bash
# The curl examples of the deepseek document: deepseek.sh CASE, with BASE and IMAGE in the
# environment. -F "prompt=<image>..." asks curl to read a file of that name and fails inside curl
# (exit 26); file_as_written shows that, and --form-string sends what was meant: a prompt that ends
# in a backslash and an n.
set -euo pipefail
case "$1" in
  health) curl "$BASE/health" ;;
  file_as_written)
    curl -X POST "$BASE/ocr/file" \
      -F "file=@$IMAGE" \
      -F "prompt=<image>\nFree OCR." ;;
  stream_as_written)
    curl -X POST "$BASE/ocr/stream" \
      -F "file=@$IMAGE" \
      -F "prompt=<image>\nFree OCR." \
      --no-buffer ;;
  file)
    curl -X POST "$BASE/ocr/file" \
      -F "file=@$IMAGE" \
      --form-string "prompt=<image>\nFree OCR." ;;
  stream)
    curl -X POST "$BASE/ocr/stream" \
      -F "file=@$IMAGE" \
      --form-string "prompt=<image>\nFree OCR." \
      --no-buffer ;;
  base64)
    IMAGE_B64=$(base64 -i "$IMAGE")
    curl -X POST "$BASE/ocr" \
      -H "Content-Type: application/json" \
      -d "{
        \"image_base64\": \"$IMAGE_B64\",
        \"prompt\": \"<image>\\nFree OCR.\"
      }" ;;
  *) echo "no such case: $1" >&2; exit 2 ;;
esac
