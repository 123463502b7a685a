#!/usr/bin/env bash
# Runs a mixture of experts in processes whose budget is also their memory limit (a
# memory cgroup): a prompt of 4,000 tokens, eight changes of topic and 200 short
# requests. Shows that each lives, that its peak resident memory is under the budget,
# and that all say the same. Without MODEL it is one of drawn weights, and the budgets
# are from the smallest that works to everything. Needs root, or a memory cgroup that can
# be written to; says "limited false" where it has none.
#
#   scripts/memory-limit-experts.sh [MODEL [BUDGET_BYTES...]]
#   PROMPT=512 scripts/memory-limit-experts.sh model.gguf 6000000000
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
if [ $# -gt 0 ]; then export SPARSEFLOW_TEST_BUDGET_MODEL=$(realpath "$1"); shift; fi
export SPARSEFLOW_TEST_BUDGET_PROMPT=${PROMPT:-4000}
if [ $# -eq 0 ]; then set -- ""; fi
for budget in "$@"; do
  SPARSEFLOW_TEST_BUDGET_BYTES=$budget go test . -count 1 -timeout 60m -v -run '^TestExpertsKeepTheBudget$' | grep -v '^=== RUN'
done
