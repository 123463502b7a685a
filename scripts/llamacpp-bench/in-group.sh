#!/bin/sh
# in-group.sh GROUP PROGRAM [ARGUMENT ...]: runs the program inside a control group,
# which the shell enters before it becomes the program.
echo $$ >"$1/cgroup.procs"
shift
exec "$@"
