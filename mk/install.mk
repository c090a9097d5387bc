# install, uninstall, deb. What goes where is said once, in the manifest: a line for each file,
# `package mode source destination`; the three targets read it.

.PHONY: install uninstall deb manifest

MANIFEST := $(BUILD)/install.list
PC_FILE  := $(BUILD)/libbus.pc
UNIT     := $(BUILD)/busd.service

$(PC_FILE): libbus/libbus.pc.in FORCE
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@INCLUDEDIR@|$(INCDIR)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS_PRIVATE@|$(LIB_LIBS)|' $< >$@

$(UNIT): packaging/busd.service FORCE
	@mkdir -p $(@D)
	@sed -e 's|@BINDIR@|$(BINDIR)|' $< >$@

manifest: $(PC_FILE) $(UNIT)
	@{ echo 'libbus0 644 $(BUILD)/libbus.so.0 $(LIBDIR)/libbus.so.0'; \
	echo 'libbus-dev link libbus.so.0 $(LIBDIR)/libbus.so'; \
	echo 'libbus-dev 644 $(BUILD)/libbus.a $(LIBDIR)/libbus.a'; \
	echo 'libbus-dev 644 $(PC_FILE) $(LIBDIR)/pkgconfig/libbus.pc'; \
	for f in $(notdir $(wildcard libbus/include/*.h)); do \
		echo "libbus-dev 644 libbus/include/$$f $(INCDIR)/$$f"; done; \
	echo 'busd 755 $(BUILD)/busd $(BINDIR)/busd'; \
	echo 'busd 644 $(UNIT) $(UNITDIR)/busd.service'; \
	for f in $(notdir $(TOOLS)); do \
		echo "bus-tools 755 $(BUILD)/$$f $(BINDIR)/$$f"; done; \
	for f in $(notdir $(wildcard docs/man/*.[13578])); do s=$${f##*.}; \
		case $$f in busd.*) p=busd ;; *.1) p=bus-tools ;; *.3) p=libbus-dev ;; *) p=busd ;; esac; \
		echo "$$p 644 docs/man/$$f $(MANDIR)/man$$s/$$f"; done; } >$(MANIFEST)

install: all manifest ## install below PREFIX (/usr/local), DESTDIR honoured
	@while read -r package mode from to; do \
		echo "  $(DESTDIR)$$to"; \
		case $$mode in \
		link) mkdir -p "$(DESTDIR)$${to%/*}" && ln -sf $$from "$(DESTDIR)$$to" ;; \
		*) install -D -m $$mode $$from "$(DESTDIR)$$to" ;; \
		esac || exit 1; \
	done <$(MANIFEST)
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" -ne 0 ] || ldconfig || true

uninstall: manifest ## remove what install put there
	@while read -r package mode from to; do rm -fv "$(DESTDIR)$$to"; done <$(MANIFEST)

# The packages have their own paths, so a build directory of their own (for its objects too).
deb: | deps ## Debian packages libbus0, libbus-dev, busd, bus-tools in build/
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/deb NO_DEPS=1 PREFIX=/usr UNITDIR=/lib/systemd/system \
		LIBDIR=/usr/lib/$$($(CC) -print-multiarch) all manifest
	@packaging/mkdeb.sh $(BUILD)/deb $(VERSION) $(BUILD)
