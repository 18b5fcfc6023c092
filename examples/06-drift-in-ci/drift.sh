#!/usr/bin/env bash
# For cron or CI: keeps the report, and fails when something differs (7) or when not everything could be judged (10).
set -uo pipefail
cd "$(dirname "$0")"
atlas drift --json "$@" >drift.json
code=$?
case $code in
  0) echo "drift: none" ;;
  7) echo "drift: something differs" ;;
  10) echo "drift: not everything could be judged" ;;
  *) echo "drift: the look itself failed" ;;
esac
exit $code
