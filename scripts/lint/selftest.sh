#!/bin/bash
# Shows that each check of scripts/lint.sh can fail: a small clean tree passes them all, then each
# rule is broken once in a copy, and its check must object. Run by make lint.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clean=$work/clean
most=$(nproc)
cases=0

header() { # PATH: a guarded header around standard input
  local guard=${1##*/}
  guard=${guard^^}
  guard=${guard//./_}
  { printf '#ifndef %s\n#define %s\n' "$guard" "$guard"; cat; echo '#endif'; } >"$1"
}

make_clean_tree() {
  mkdir -p "$clean"/{libbus/{include,base,format,ring,os,api},busd,tools,tests/lib/preload,docs/examples}
  cp -r Makefile mk scripts .clang-format "$clean/"
  cp libbus/libbus.map libbus/libbus.pc.in "$clean/libbus/"
  # the programs of the other files are not in this tree
  find "$clean/mk" -name '*.mk' ! -name build.mk ! -name test.mk ! -name install.mk -delete
  : >"$clean/scripts/lint/long.txt"
  cd "$clean"
  header libbus/include/bus.h <<<'int bus_answer(int x);'
  header libbus/base/base.h <<<'#define BASE_ONE 1'
  header libbus/base/atomic.h <<<'#include <stdatomic.h>'
  header libbus/format/layout.h <<<'#include "base/base.h"'
  header libbus/ring/ring.h <<<'int bus__ring_add(int x);'
  printf '#include "ring/ring.h"\n#include "format/layout.h"\n\n%s\n{\n\treturn x + BASE_ONE;\n}\n' \
    'int bus__ring_add(int x)' >libbus/ring/ring.c
  printf '#include "bus.h"\n#include "ring/ring.h"\n\n%s\n{\n\treturn bus__ring_add(x);\n}\n' \
    'int bus_answer(int x)' >libbus/api/bus.c
  printf '#include "ring/ring.h"\n\nint main(void)\n{\n\treturn bus__ring_add(1);\n}\n' >busd/main.c
  printf '#include <bus.h>\n\nint main(void)\n{\n\treturn bus_answer(1);\n}\n' >tools/bus.c
  cp tools/bus.c docs/examples/hello.c
  echo 'typedef int disk_fault;' >tests/lib/preload/disk_fault.c # mk/test.mk makes something of it
  scripts/lint.sh >lint.out 2>&1 || {
    echo "lint selftest: the clean tree does not pass:"
    cat lint.out
    exit 1
  }
}

# in_copy TREE CHECK WHAT COMMAND
in_copy() {
  cp -r "$clean" "$1"
  cd "$1"
  eval "$4"
  if scripts/lint.sh "$2" >lint.out 2>&1; then
    echo "lint selftest: $2 does not object to: $3" | tee -a "$work/failed"
  fi
  rm -rf "$1"
}

# objects CHECK WHAT COMMAND: in a copy, after COMMAND, CHECK must fail. As many at a time as there are processors;
# a command that fails is a failure of the test.
objects() {
  while [ "$(jobs -rp | wc -l)" -ge "$most" ]; do wait -n || true; done
  cases=$((cases + 1))
  (in_copy "$work/tree.$cases" "$@" || echo "lint selftest: cannot be tried: $1: $2" | tee -a "$work/failed") &
}

top() { sed -i "1i $2" "$1"; }
function_of() { # NAME LINES
  printf '\nint %s(int x);\nint %s(int x)\n{\n' "$1" "$1"
  for ((i = 1; i < $2; i++)); do printf '\tx += %d;\n' "$i"; done
  printf '\treturn x;\n}\n'
}

make_clean_tree

objects layers 'ring includes os' "top libbus/ring/ring.c '#include \"os/wake.h\"'"
objects layers 'base includes format' "top libbus/base/base.h '#include \"format/layout.h\"'"
objects layers 'os includes the public header' "echo '#include <bus.h>' >libbus/os/wake.c"
objects layers 'an include goes up by ..' "top libbus/ring/ring.c '#include \"../api/opts.h\"'"
objects layers 'busd includes api' "top busd/main.c '#include \"api/opts.h\"'"
objects layers 'a tool includes ring' "top tools/bus.c '#include \"ring/ring.h\"'"
objects layers 'an example goes round the include path' "top docs/examples/hello.c '#include \"../../libbus/ring/ring.h\"'"
objects layers 'the public header includes a layer' "top libbus/include/bus.h '#include \"base/base.h\"'"
objects layers 'stdatomic.h outside atomic.h' "top busd/main.c '#include <stdatomic.h>'"
objects layers 'numa.h outside numa.c' "top busd/main.c '#include <numa.h>'"
objects layers 'liburing.h outside its owners' "top libbus/ring/ring.c '#include <liburing.h>'"
objects layers 'a bare builtin atomic' "echo 'static int f(int *p) { return __atomic_load_n(p, 0); }' >>busd/main.c"
objects names 'a banned file name' "mv tools/bus.c tools/bus-util.c"
objects names 'a banned directory name' "mkdir libbus/common; touch libbus/common/x.c"
objects names 'a banned tag' "echo 'struct bus_context { int x; };' >>busd/main.c"
objects names 'a typedef of a struct' "echo 'typedef struct bus bus_t;' >>busd/main.c"
objects sizes 'a function of 81 lines' "function_of bus__long 81 >>libbus/ring/ring.c"
objects sizes 'a file of 701 lines' "yes '/* */' | head -n 701 >>libbus/ring/ring.c"
objects format 'a brace on the wrong line' "echo 'struct x\n{ int a; };' >>busd/main.c"
objects compile 'an unused variable' "sed -i 's/^{/{\n\tint unused;\n/' libbus/api/bus.c"
objects compile 'a shadowed name in an example' "sed -i 's/return/{ int main; (void)main; } return/;s/int main; /int x = 0, *y = 0; { int x; } /' docs/examples/hello.c"
objects symbols 'ring calls libc' "sed -i 's/return x/extern int getpid(void);\n\treturn getpid() + x/' libbus/ring/ring.c"
objects symbols 'internal names in the static library' "sed -i '/OBJCOPY) -w/d' mk/build.mk; rm build/lint/libbus.a"
objects symbols 'a global name without prefix' "function_of stray 2 >>libbus/api/bus.c"
objects symbols 'exported but not declared' "function_of bus_secret 2 >>libbus/api/bus.c"
objects symbols 'declared but not defined' "sed -i 's/^int bus_answer.*/&\nint bus_absent(int x);/' libbus/include/bus.h"
objects cppcheck 'a division by zero' "function_of bus__zero 1 >>libbus/api/bus.c; sed -i 's/return x;/return x \/ (int)0;/' libbus/api/bus.c"
objects shell 'an unquoted expansion in test' "printf '#!/bin/bash\nx=\$(ls)\nif [ \$x = 1 ]; then cd /tmp; fi\n' >scripts/x.sh"

wait
[ ! -e "$work/failed" ] && echo "lint selftest: each check objects to what it is for"
