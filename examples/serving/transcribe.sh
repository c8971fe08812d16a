#!/bin/sh
# A file's text by curl: transcribe.sh FILE [FORMAT], where FORMAT is json (as it is), txt, srt, vtt or tsv.
# HARKEN_URL is the server (http://127.0.0.1:8000 without it), HARKEN_API_KEY the key if it asks for one.
set -eu

file=${1:?name a file: transcribe.sh FILE [FORMAT]}
format=${2:-json}
url=${HARKEN_URL:-http://127.0.0.1:8000}

# The key goes in by standard input: as an argument, every user of this machine could read it.
if [ -n "${HARKEN_API_KEY:-}" ]; then
  printf 'header = "Authorization: Bearer %s"\n' "$HARKEN_API_KEY"
fi | curl --config - --silent --show-error --fail-with-body \
  --retry 2 --form "file=@\"$file\"" --form "format=$format" "$url/transcribe"
