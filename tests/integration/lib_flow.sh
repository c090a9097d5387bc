# For scripts that do something else to busd while a publisher and a subscriber go on. Sourced before lib_tools.sh, which leaves the directory.
# shellcheck shell=bash

# start_flow: numbered lines, some hundred a second, through a topic of their own, until end_flow
start_flow() {
  rm -f flow.stop flow.got
  topic flow
  bus-sub flow --raw >flow.got 2>flow.sub &
  flow_sub=$!
  wait_for "the flow's subscriber" attached flow 1
  (n=0; until [ -e flow.stop ]; do echo $((n += 1)); sleep 0.003; done) | bus-pub flow 2>flow.pub &
  flow_pub=$!
  flows
}

flow_is_beyond() { [ "$(tail -n 1 flow.got)" -gt "$1" ]; }

# flows: it goes on, from where it is now
flows() {
  local now
  now=$(tail -n 1 flow.got)
  wait_for "the flow to go on" flow_is_beyond "${now:-0}"
}

# end_flow: everything arrived, in order, and nobody complained
end_flow() {
  local last
  flows
  touch flow.stop
  wait "$flow_pub" || note_failure "the flow's publisher: exit code $?, $(cat flow.pub)"
  last=$(bus-stat topic flow --json | grep -o '"messages":[0-9]*' | head -n 1 | cut -d : -f 2)
  wait_for "the end of the flow" grep -qx "$last" flow.got
  seq 1 "$last" | cmp - flow.got || note_failure "the flow was disturbed"
  same "what the flow's processes said" '' "$(cat flow.pub flow.sub)"
  # whether it was there all the time, not evicted and back
  kill "$flow_sub"
  wait "$flow_sub"
}
