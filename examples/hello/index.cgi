#!/bin/sh
# One request: says who answers.
printf 'Content-Type: application/json\r\n\r\n'
printf '{"message":"Hello from Mayfly!","app":"%s","region":"%s","machine":"%s"}\n' \
    "${FLY_APP_NAME:-}" "${FLY_REGION:-}" "${FLY_MACHINE_ID:-}"
