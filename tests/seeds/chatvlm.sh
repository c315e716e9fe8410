#!/usr/bin/env bash
# The curl examples of the chatvlm document: chatvlm.sh CASE, with BASE and IMAGE in the environment.
set -euo pipefail
case "$1" in
  health) curl "$BASE/health" ;;
  models) curl "$BASE/models" ;;
  ocr)
    curl -X POST "$BASE/ocr?model=qwen3_vl_2b" \
      -F "file=@$IMAGE" ;;
  chat)
    curl -X POST "$BASE/chat" \
      -F "file=@$IMAGE" \
      -F "prompt=What's in this image?" \
      -F "model=qwen3_vl_4b" \
      -F "temperature=0.7" ;;
  batch)
    curl -X POST "$BASE/batch/ocr?model=qwen3_vl_2b" \
      -F "files=@$IMAGE" \
      -F "files=@$IMAGE" \
      -F "files=@$IMAGE" ;;
  load)
    # shellcheck disable=SC2086  # unquoted, as the document has it
    curl -X POST $BASE/ocr?model=qwen3_vl_8b -F "file=@$IMAGE" ;;
  unload)
    curl -X DELETE "$BASE/models/qwen3_vl_8b" ;;
  *) echo "no such case: $1" >&2; exit 2 ;;
esac
