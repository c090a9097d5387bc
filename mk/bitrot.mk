# make bitrot: each bit of a small log flipped, each length cut, each sector replaced; the short form is part of
# make test (tests/unit/log_bitrot.c says what is expected).

.PHONY: bitrot

bitrot: $(BUILD)/tests/unit/log_bitrot ## each bit, length and sector of a small log spoiled (a minute or two)
	@$< full
