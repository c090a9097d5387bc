# make mutants: one line of libbus/ring broken at a time, each seen by its unit test.

.PHONY: mutants

mutants: | deps ## break the ring line by line and see the unit tests object
	@CC='$(CC)' tests/mutants/run.sh $(MUTANTS)
