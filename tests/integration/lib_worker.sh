# For scripts that kill busd's worker. Sourced before lib_tools.sh, which leaves the directory.
# shellcheck shell=bash

# worker: the pid of the present one, waited for
worker() {
  local pid=
  for _ in {1..500}; do
    read -r pid _ <"/proc/$busd/task/$busd/children" 2>/dev/null # no newline at its end
    [ -n "$pid" ] && break
    sleep 0.01
  done
  echo "$pid"
}

# another_than PID: a worker is there, and it is not that one
another_than() {
  local pid=
  read -r pid _ <"/proc/$busd/task/$busd/children" 2>/dev/null
  [ -n "$pid" ] && [ "$pid" != "$1" ]
}

# kill_worker: kills the present one by -9, and waits for the next
kill_worker() {
  local pid
  pid=$(worker)
  kill -KILL "$pid"
  wait_for "a new worker" another_than "$pid"
}

# no_worker: from now on there is none: its keeper stands still
no_worker() {
  local pid
  pid=$(worker)
  kill -STOP "$busd"
  kill -KILL "$pid"
  wait_for "the worker's end" grep -q '^State:.*Z' "/proc/$pid/status"
}
a_worker_again() { kill -CONT "$busd"; }
