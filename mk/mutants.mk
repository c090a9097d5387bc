# make mutants: one line of the library or of busd broken at a time, and the suite that must object; one
# table of all (tests/mutants). Some 10 minutes; MUTANTS='step- seal' runs those whose names contain that.

.PHONY: mutants

mutants: | deps ## break the code line by line, see which suite objects (MUTANTS=names: some of them)
	@CC='$(CC)' tests/mutants/run.sh $(MUTANTS)
