# Counts the words of its task; says so in the termination message. The task "fail" fails.
set -eu
if [ "${TASK_PROMPT:-}" = "fail" ]; then
    printf 'told to fail' > /dev/termination-log
    exit 3
fi
variable=$(printf '%s' "${TASK_PROMPT:-}" | wc -w)
file=$(wc -w < "$AGENTSESSIONS_SESSION_DIR/prompt")
printf '%s words in TASK_PROMPT, %s in the file, session %s' "$variable" "$file" "$AGENTSESSIONS_SESSION_ID" \
    > /dev/termination-log
