# sanitized_lmp.sh LMP: prints a program that runs LMP, which was built without sanitizers, with a plugin that was built
# with them. Their library has to be loaded first. What python, torch and MPI keep until the end is no leak of ours.
library() { ${CXX:-c++} -print-file-name="$1"; }
cat <<END
#!/bin/sh
export LD_PRELOAD="$(library libasan.so) $(library libstdc++.so.6)"
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1:strict_init_order=1:exitcode=99
export UBSAN_OPTIONS=print_stacktrace=1
exec "$1" "\$@"
END
