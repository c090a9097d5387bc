# make spin: the protocols between clients, worker and keeper as models for spin (tests/spin), each with
# mutants that must be caught. No part of the build: where Debian's package cannot be had it says so.

.PHONY: spin

spin: ## protocol models (seal, attach, restart, evict, close) and their mutants (SPIN=words: some of them)
	@$(if $(filter 1,$(NO_DEPS)),:,scripts/deps.sh spin || :)
	@rc=0; CC='$(CC)' tests/spin/run.sh $(SPIN) || rc=$$?; [ $$rc -eq 77 ] || exit $$rc
